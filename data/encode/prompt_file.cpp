#include "data/encode/prompt_file.h"

#include <cstdint>
#include <string_view>

#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

/// Bytes of the UTF-8 character that `text` starts with; 0 if it starts with none (RFC 3629: no
/// longer form than needed, no surrogates, nothing above U+10FFFF).
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xC2 && first < 0xE0   ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool longer_than_needed =
      (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool no_character = (first == 0xED && byte(1) > 0x9F) || (first == 0xF4 && byte(1) > 0x8F);
  return longer_than_needed || no_character ? 0 : length;
}

/// UserError with the place of the first byte that is no UTF-8, or zero. Columns count characters.
void check_line(const std::filesystem::path& path, size_t number, std::string_view line) {
  size_t column = 1;
  for (size_t at = 0; at < line.size(); ++column) {
    const size_t bytes = character_bytes(line.substr(at));
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
