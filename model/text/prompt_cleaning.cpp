#include "model/text/prompt_cleaning.h"

#include <algorithm>

#include "model/io/utf8.h"
#include "model/text/html_unescape.h"

namespace vmla::model {
namespace {

/// What Python's str.isspace() takes for white space: Unicode's, and the four separators of ASCII.
bool is_white_space(char32_t code) {
  if (code <= ' ') return (code >= '\t' && code <= '\r') || (code >= 0x1C && code <= ' ');
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

}  // namespace

std::string clean_prompt(std::string_view prompt) {
  const std::string text = html_unescape(html_unescape(prompt));
  std::string cleaned;
  bool blank = false;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t bytes = io::utf8_character_bytes(rest);
    const std::string_view character = rest.substr(0, std::max<size_t>(bytes, 1));
    rest.remove_prefix(character.size());
    if (bytes > 0 && is_white_space(io::utf8_code(character))) {
      blank = true;
      continue;
    }
    if (blank && !cleaned.empty()) cleaned += ' ';
    blank = false;
    cleaned += character;
  }
  return cleaned;
}

}  // namespace vmla::model
