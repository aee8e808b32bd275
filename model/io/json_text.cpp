#include "model/io/json_text.h"

#include "model/io/error.h"

namespace vmla::io {
namespace {

constexpr int kDeepest = 64;

/// The first byte at which a text is nested too deep, or is zero; its size where there is none.
size_t first_harmful_byte(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\0') return i;
    if (in_string) {
      if (c == '\\') {
        ++i;  // whatever follows does not end the string
        if (i < text.size() && text[i] == '\0') return i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kDeepest) return i;
  }
  return text.size();
}

}  // namespace

bool is_harmless_json(std::string_view text) {
  return first_harmful_byte(text) == text.size();
}

void check_json_text(std::string_view text, const std::string& file_name) {
  const size_t i = first_harmful_byte(text);
  if (i == text.size()) return;
  if (text[i] == '\0') fail_user("{}: not valid JSON: byte {} is zero", file_name, i + 1);
  fail_user("{}: JSON nested more than {} levels deep (byte {}); no file of ours is",
            file_name,
            kDeepest,
            i + 1);
}

}  // namespace vmla::io
