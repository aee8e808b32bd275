#include "model/codec/text_encoder.h"

#include <charconv>
#include <string_view>

#include "model/codec/hashing_text_encoder.h"
#include "model/io/error.h"

namespace vmla::model {

std::unique_ptr<TextEncoder> make_text_encoder(const std::string& name) {
  constexpr std::string_view kHashing = "hashing:";
  if (name.starts_with(kHashing)) {
    int64_t text_dim = 0, max_rows = 0;
    const char* end = name.data() + name.size();
    const auto [cross, error] = std::from_chars(name.data() + kHashing.size(), end, text_dim);
    if (error == std::errc() && cross != end && *cross == 'x') {
      const auto [rest, second_error] = std::from_chars(cross + 1, end, max_rows);
      const bool sizes_valid =
          text_dim >= 1 && text_dim <= 65536 && max_rows >= 1 && max_rows <= 65536;
      if (second_error == std::errc() && rest == end && sizes_valid) {
        return std::make_unique<HashingTextEncoder>(text_dim, max_rows);
      }
    }
  }
  fail_user("text encoder \"{}\" is unknown; known: hashing:DxT, width D and at most T rows", name);
}

}  // namespace vmla::model
