#pragma once

#include <string>
#include <vector>

namespace vmla::analysis {

/// A part of a whole.
struct Share {
  std::string label;
  double value = 0;  // not negative
};

/// One horizontal bar of parts as SVG text, with a legend that gives each part's value in `unit`
/// and its share. `width`: pixels of the drawing.
std::string share_bar(const std::vector<Share>& shares, const std::string& unit, int width = 540);

}  // namespace vmla::analysis
