#pragma once

#include <string>

namespace vmla::analysis {

/// A number for people: three significant digits, thousands as k, M, G from 10 000 on.
std::string short_number(double value);

}  // namespace vmla::analysis
