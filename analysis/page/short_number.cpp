#include "analysis/page/short_number.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

namespace vmla::analysis {

std::string short_number(double value) {
  if (!std::isfinite(value)) return "–";
  char text[32];
  const double size = std::abs(value);
  const std::array<std::pair<double, const char*>, 3> units = {
      {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};
  for (const auto& [scale, unit] : units) {
    if (size >= scale && size >= 1e4) {
      std::snprintf(text, sizeof text, "%.3g%s", value / scale, unit);
      return text;
    }
  }
  if (size >= 1000) {
    std::snprintf(text, sizeof text, "%.0f", value);
  } else {
    std::snprintf(text, sizeof text, "%.3g", size < 1e-12 ? 0.0 : value);
  }
  return text;
}

}  // namespace vmla::analysis
