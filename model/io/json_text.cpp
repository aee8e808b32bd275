#include "model/io/json_text.h"

#include "model/io/error.h"

namespace vmla::io {

void check_json_text(std::string_view text, const std::string& file_name) {
  constexpr int kDeepest = 64;
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\0') fail_user("{}: not valid JSON: byte {} is zero", file_name, i + 1);
    if (in_string) {
      if (c == '\\') {
        ++i;  // whatever follows does not end the string
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kDeepest) {
      fail_user("{}: JSON nested more than {} levels deep (byte {}); no file of ours is",
                file_name,
                kDeepest,
                i + 1);
    }
  }
}

}  // namespace vmla::io
