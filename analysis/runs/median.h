#pragma once

#include <vector>

namespace vmla::analysis {

/// The middle value, of an even number the upper of the two; 0 without any.
double median(std::vector<double> values);

}  // namespace vmla::analysis
