#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

/// What text must be before it goes into JSON, HDF5 or a terminal.
namespace vmla::io {

/// Bytes of the UTF-8 character that `text` starts with; 0 if it starts with none (RFC 3629: no
/// longer form than needed, no surrogates, nothing above U+10FFFF). `text` must not be empty.
size_t utf8_character_bytes(std::string_view text);

/// The code point of one whole character.
char32_t utf8_code(std::string_view character);

/// Place of the first byte that is no UTF-8, or zero, counted from 0; none in good text.
std::optional<size_t> first_bad_text_byte(std::string_view text);

}  // namespace vmla::io
