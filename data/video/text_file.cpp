#include "data/video/text_file.h"

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/utf8.h"

namespace vmla::data {

void check_text(std::string_view text, const std::string& where) {
  size_t line = 1, column = 1, line_begin = 0;
  for (size_t at = 0; at < text.size(); ++column) {
    const size_t bytes = io::utf8_character_bytes(text.substr(at, 4));
    if (bytes == 0 || text[at] == '\0') {
      fail_user("{}: line {}, column {} (byte {} of the line): 0x{:02x} {}",
                where,
                line,
                column,
                at - line_begin + 1,
                static_cast<uint8_t>(text[at]),
                bytes == 0 ? "is no UTF-8; save the file as UTF-8" : "is no text; remove it");
    }
    if (text[at] == '\n') {
      ++line;
      column = 0;
      line_begin = at + 1;
    }
    at += bytes;
  }
}

std::string read_text(const std::filesystem::path& path, uint64_t most_bytes) {
  std::string text = io::read_text_file(path, most_bytes);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    fail_user("{}: begins with 0x{:02x} 0x{:02x}, as UTF-16 does; save the file as UTF-8",
              path.string(),
              static_cast<uint8_t>(text[0]),
              static_cast<uint8_t>(text[1]));
  }
  // Spreadsheets and Windows' editor write a byte order mark, which belongs to no line.
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  check_text(text, path.string());
  return text;
}

}  // namespace vmla::data
