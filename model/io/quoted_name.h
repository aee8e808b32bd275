#pragma once

#include <string>
#include <string_view>

namespace vmla::io {

/// `name` in single quotes for a one-line message: control characters escaped, the middle of a long
/// name left out. For names that come from files.
std::string quoted_name(std::string_view name);

}  // namespace vmla::io
