#include "model/io/quoted_name.h"

#include <cstdint>

#include "model/io/format.h"

namespace vmla::io {
namespace {

struct Character {
  char32_t code = 0;
  size_t bytes = 0;  // 0: no UTF-8
};

/// The character at the beginning of `text`, which is not empty.
Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  auto code = static_cast<char32_t>(lead & (0xff >> (bytes + 1)));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kSmallest[bytes] || surrogate || code > 0x10ffff) return {};
  return {code, bytes};
}

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
    const Character next = first_character(text);
    const size_t count = next.bytes == 0 ? 1 : next.bytes;
    if (next.bytes > 0 && !is_control(next.code)) {
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
  constexpr size_t kLongest = 160;
  std::string text(name);
  if (text.size() > kLongest) {
    text =
        formatted("{}...{}", name.substr(0, kLongest / 2), name.substr(name.size() - kLongest / 2));
  }
  return "'" + printable(text) + "'";
}

}  // namespace vmla::io
