#pragma once

#include <string>

namespace vmla::analysis {

/// What stands around a drawing.
struct SvgFrame {
  int width = 0, height = 0;  // the extent of its coordinates, which grow to the right and down
  std::string title;          // plain text, for readers that do not see it
};

/// The opening tag of a drawing; "</svg>" ends it.
std::string open_svg(const SvgFrame& frame);

}  // namespace vmla::analysis
