#pragma once

#include <string>
#include <string_view>

namespace vmla::io {

/// `text` as one line that a terminal shows and does not obey: control characters (C0, DEL, C1),
/// line and paragraph separators, the marks that turn the direction of text, and bytes that are no
/// UTF-8 become "\x1b" and the like. Everything else stays as it is. For text that others wrote:
/// files, peers, other programs.
std::string printable(std::string_view text);

/// `name` in single quotes for a one-line message: printable(), with the middle of a long name left
/// out. For names that come from files.
std::string quoted_name(std::string_view name);

}  // namespace vmla::io
