#include "data/encode/prompt_file.h"

#include <string_view>

#include "data/video/text_file.h"
#include "model/io/error.h"

namespace vmla::data {

std::vector<std::string> read_prompt_file(const std::filesystem::path& path) {
  const std::string whole = read_text(path);
  std::string_view rest = whole;
  if (rest.empty()) fail_user("{}: is empty; one line is one prompt", path.string());
  std::vector<std::string> prompts;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    prompts.emplace_back(line);
  }
  return prompts;
}

}  // namespace vmla::data
