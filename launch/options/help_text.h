#pragma once

#include <cstddef>
#include <string>

namespace vmla::launch {

/// A help text with every line that is longer than `columns` broken between words. What follows
/// stands below what it belongs to: an option's description, or the line's own beginning. A command
/// line (a line whose first word is a program of ours) is continued with a backslash, so that it
/// can be copied. A word that is longer than a line stays whole.
std::string fit_columns(const std::string& help, size_t columns = 80);

}  // namespace vmla::launch
