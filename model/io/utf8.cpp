#include "model/io/utf8.h"

#include <cstdint>

namespace vmla::io {

size_t utf8_character_bytes(std::string_view text) {
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

char32_t utf8_code(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0);
  // The first byte of n has n ones and a zero in front, the others a one and a zero.
  auto code = static_cast<char32_t>(byte(0) & (0xff >> (character.size() + 1)));
  for (size_t i = 1; i < character.size(); ++i) code = code << 6 | (byte(i) & 0x3f);
  return code;
}

std::optional<size_t> first_bad_text_byte(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = utf8_character_bytes(text.substr(at));
    if (bytes == 0 || text[at] == '\0') return at;
    at += bytes;
  }
  return std::nullopt;
}

}  // namespace vmla::io
