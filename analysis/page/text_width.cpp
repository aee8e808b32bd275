#include "analysis/page/text_width.h"

#include "model/io/utf8.h"

#include <algorithm>
#include <cstdint>

namespace vmla::analysis {
namespace {

struct Character {
  uint32_t code = 0;
  size_t bytes = 1;
};

// The character that `text` begins with; a byte that begins none is taken by itself.
Character first_character(std::string_view text) {
  const size_t bytes = std::max<size_t>(1, io::utf8_character_bytes(text));
  return {.code = io::utf8_code(text.substr(0, bytes)), .bytes = bytes};
}

bool is_one_of(uint32_t code, std::string_view letters) {
  return code < 0x80 && letters.find(static_cast<char>(code)) != std::string_view::npos;
}

// In units of the font's size; those of DejaVu Sans, the widest of the fonts that pages fall back
// to.
double character_width(uint32_t code) {
  const bool combining = (code >= 0x300 && code <= 0x36F) || (code >= 0x200B && code <= 0x200F) ||
                         (code >= 0xFE00 && code <= 0xFE0F);
  if (combining) return 0;
  // Hangul, Chinese, Japanese, full width forms, emoji.
  const bool square = (code >= 0x1100 && code <= 0x115F) || (code >= 0x2E80 && code <= 0xA4CF) ||
                      (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
                      (code >= 0xFF00 && code <= 0xFF60) || code >= 0x1F000;
  if (square) return 1.0;
  if (is_one_of(code, "ijlI.,:;!|'` ")) return 0.33;
  if (is_one_of(code, "ftr()[]{}/\\-\"")) return 0.42;
  if (is_one_of(code, "mwMW@%+<>=~#&")) return 0.99;
  if (code >= 'A' && code <= 'Z') return 0.72;
  return 0.64;
}

}  // namespace

double text_width(std::string_view text, double size) {
  double width = 0;
  while (!text.empty()) {
    const Character next = first_character(text);
    width += size * character_width(next.code);
    text.remove_prefix(next.bytes);
  }
  return width;
}

std::string fitted_text(std::string_view text, double size, double width) {
  if (text_width(text, size) <= width) return std::string(text);
  constexpr std::string_view kEllipsis = "…";
  double used = text_width(kEllipsis, size);
  size_t kept = 0;
  while (kept < text.size()) {
    const Character next = first_character(text.substr(kept));
    used += size * character_width(next.code);
    if (used > width) break;
    kept += next.bytes;
  }
  return std::string(text.substr(0, kept)).append(kEllipsis);
}

}  // namespace vmla::analysis
