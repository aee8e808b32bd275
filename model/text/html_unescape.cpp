#include "model/text/html_unescape.h"

#include <algorithm>
#include <iterator>

#include "model/io/utf8.h"
#include "model/text/html5_entities.h"

namespace vmla::model {
namespace {

/// A name is at most that many characters long (HTML5's longest has 32 with its semicolon).
constexpr size_t kMostNameCharacters = 32;

const HtmlEntity* find_entity(std::string_view name) {
  const HtmlEntity* const found = std::lower_bound(
      std::begin(kHtmlEntities),
      std::end(kHtmlEntities),
      name,
      [](const HtmlEntity& entity, std::string_view n) { return entity.name < n; });
  return found != std::end(kHtmlEntities) && found->name == name ? found : nullptr;
}

void append_utf8(std::string& out, char32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    tail(12), tail(6), tail(0);
  }
}

/// HTML reads the numbers 0x80 to 0x9F as the bytes of Windows-1252; those that it leaves free
/// stand for themselves.
constexpr char32_t kWindows1252[32] = {
    0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};

/// What a character reference by number stands for.
std::string character_of(char32_t code) {
  std::string text;
  if (code >= 0x80 && code <= 0x9F) {
    append_utf8(text, kWindows1252[code - 0x80]);
  } else if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) {
    append_utf8(text, 0xFFFD);
  } else {
    const bool space = code == '\t' || code == '\n' || code == '\f' || code == '\r';
    const bool control = (code < 0x20 && !space) || code == 0x7F;
    const bool no_character = (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
    if (!control && !no_character) append_utf8(text, code);
  }
  return text;
}

int digit_of(char c, int base) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return base == 16 && lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Replaces a reference by number: `text` stands behind "&". Returns how many bytes of it were
/// read, 0 for none.
size_t unescape_number(std::string_view text, std::string& out) {
  if (text.empty() || text[0] != '#') return 0;
  const bool hexadecimal = text.size() > 1 && (text[1] | 0x20) == 'x';
  const int base = hexadecimal ? 16 : 10;
  size_t at = hexadecimal ? 2 : 1;
  const size_t first = at;
  char32_t code = 0;
  for (; at < text.size() && digit_of(text[at], base) >= 0; ++at) {
    // Beyond the last character all numbers are alike.
    code = std::min<char32_t>(
        code * static_cast<char32_t>(base) + static_cast<char32_t>(digit_of(text[at], base)),
        0x110000);
  }
  if (at == first) return 0;
  out += character_of(code);
  return at < text.size() && text[at] == ';' ? at + 1 : at;
}

/// The same for a reference by name: the longest known name that `text` begins with.
size_t unescape_name(std::string_view text, std::string& out) {
  size_t end = 0, characters = 0;
  while (end < text.size() && characters < kMostNameCharacters &&
         std::string_view("\t\n\f <&#;").find(text[end]) == std::string_view::npos) {
    end += std::max<size_t>(io::utf8_character_bytes(text.substr(end)), 1);
    ++characters;
  }
  if (characters == 0) return 0;
  if (end < text.size() && text[end] == ';') ++end;
  for (size_t length = end; length > 1; --length) {
    const HtmlEntity* const entity = find_entity(text.substr(0, length));
    if (entity == nullptr) continue;
    out += entity->text;
    return length;
  }
  return 0;
}

}  // namespace

std::string html_unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t ampersand = std::min(text.find('&'), text.size());
    out += text.substr(0, ampersand);
    text.remove_prefix(ampersand);
    if (text.empty()) break;
    text.remove_prefix(1);
    size_t read = unescape_number(text, out);
    if (read == 0) read = unescape_name(text, out);
    if (read == 0) out += '&';
    text.remove_prefix(read);
  }
  return out;
}

}  // namespace vmla::model
