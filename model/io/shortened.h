#pragma once

#include <string>
#include <string_view>

namespace vmla::io {

/// `text` with its middle left out where it is longer than a message should hold.
std::string shortened(std::string_view text);

}  // namespace vmla::io
