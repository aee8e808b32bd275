#include "analysis/page/short_number.h"

#include <array>
#include <cmath>

#include "model/io/format.h"

namespace vmla::analysis {
namespace {

struct Unit {
  double scale;
  const char* symbol;
};
constexpr std::array<Unit, 3> kUnits = {{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}}};

constexpr char kUnknown[] = "–";
constexpr double kLeastWithUnit = 1e4;  // below it thousands are written out: 1234
constexpr double kZero = 1e-12;         // what is smaller is rounding noise

}  // namespace

std::string short_number(double value) {
  if (!std::isfinite(value)) return kUnknown;
  const double size = std::abs(value);
  for (const auto& [scale, symbol] : kUnits) {
    if (size >= scale && size >= kLeastWithUnit)
      return formatted("{:.3g}{}", value / scale, symbol);
  }
  if (size >= 1000) return formatted("{:.0f}", value);
  return formatted("{:.3g}", size < kZero ? 0.0 : value);
}

std::string short_number(std::optional<double> value) {
  return value ? short_number(*value) : kUnknown;
}

std::string percent(std::optional<double> share) {
  return share && std::isfinite(*share) ? formatted("{:.1f} %", 100 * *share) : kUnknown;
}

}  // namespace vmla::analysis
