#include "data/encode/prompt_file.h"

#include <cstdint>
#include <string_view>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/utf8.h"

namespace vmla::data {
namespace {

/// UserError with the place of the first byte that is no UTF-8, or zero. Columns count characters.
void check_line(const std::filesystem::path& path, size_t number, std::string_view line) {
  size_t column = 1;
  for (size_t at = 0; at < line.size(); ++column) {
    const size_t bytes = io::utf8_character_bytes(line.substr(at));
    if (bytes == 0 || line[at] == '\0') {
      fail_user("{}: line {}, column {} (byte {} of the line): 0x{:02x} {}",
                path.string(),
                number,
                column,
                at + 1,
                static_cast<uint8_t>(line[at]),
                bytes == 0 ? "is no UTF-8; save the file as UTF-8" : "is no text; remove it");
    }
    at += bytes;
  }
}

}  // namespace

std::vector<std::string> read_prompt_file(const std::filesystem::path& path) {
  const std::string whole = io::read_text_file(path);
  std::string_view rest = whole;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  if (rest.empty()) fail_user("{}: is empty; one line is one prompt", path.string());
  std::vector<std::string> prompts;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    check_line(path, prompts.size() + 1, line);
    prompts.emplace_back(line);
  }
  return prompts;
}

}  // namespace vmla::data
