#include "model/io/quoted_name.h"

#include "model/io/shortened.h"
#include "model/io/utf8.h"

namespace vmla::io {
namespace {

bool is_within(char32_t code, char32_t first, char32_t last) {
  return first <= code && code <= last;
}

/// Whether a terminal would act on the character instead of showing it.
bool is_control(char32_t code) {
  return code < 0x20 || is_within(code, 0x7f, 0x9f) || is_within(code, 0x200e, 0x200f) ||
         is_within(code, 0x2028, 0x202e) || is_within(code, 0x2066, 0x2069);
}

}  // namespace

std::string printable(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t bytes = utf8_character_bytes(text);
    const size_t count = bytes == 0 ? 1 : bytes;
    if (bytes > 0 && !is_control(utf8_code(text.substr(0, bytes)))) {
      out += text.substr(0, count);
    } else {
      for (const char c : text.substr(0, count)) {
        const auto value = static_cast<unsigned char>(c);
        out += {'\\', 'x', kHex[value >> 4], kHex[value & 15]};
      }
    }
    text.remove_prefix(count);
  }
  return out;
}

std::string quoted_name(std::string_view name) {
  return "'" + printable(shortened(name)) + "'";
}

}  // namespace vmla::io
