#pragma once

#include <string>
#include <string_view>

namespace vmla::model {

/// `text` (UTF-8) with HTML's character references replaced by what they stand for, once: "&amp;",
/// "&#233;", "&#xe9;". As browsers and Python's html.unescape do it: the old names need no
/// semicolon ("&ampfoo" begins with one), an unknown name stays as it is, a number that is no
/// character becomes U+FFFD or nothing.
std::string html_unescape(std::string_view text);

}  // namespace vmla::model
