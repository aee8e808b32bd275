#include "analysis/page/share_bar.h"

#include <algorithm>

#include "analysis/page/html_text.h"
#include "analysis/page/plot_style.h"
#include "analysis/page/short_number.h"
#include "analysis/page/svg_text.h"
#include "model/io/format.h"

namespace vmla::analysis {

std::string share_bar(const std::vector<Share>& shares, const std::string& unit, int width) {
  double total = 0;
  for (const Share& share : shares) total += share.value;
  // The legend below the bar has two columns.
  const int legend_rows = (static_cast<int>(shares.size()) + 1) / 2;
  std::string out = open_svg({.width = width, .height = 40 + 20 * legend_rows, .title = "shares"});
  double x = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    const double part = total > 0 ? shares[i].value / total : 0;
    const double left = (i % 2) * (width / 2.0), y = 46 + 20.0 * static_cast<double>(i / 2);
    out += formatted(R"(<rect x="{:.1f}" y="2" width="{:.1f}" height="22" rx="2" fill="{}"/>)",
                     x,
                     std::max(part * width - 1, 0.0),
                     series_colour(i));
    out += formatted(R"(<rect x="{:.1f}" y="{:.1f}" width="10" height="10" rx="2" fill="{}"/>)"
                     R"(<text class="label" x="{:.1f}" y="{:.1f}">{} · {} {} · {:.0f} %</text>)",
                     left,
                     y - 9,
                     series_colour(i),
                     left + 16,
                     y,
                     escape_html(shares[i].label),
                     short_number(shares[i].value),
                     escape_html(unit),
                     100 * part);
    x += part * width;
  }
  return out + "</svg>";
}

}  // namespace vmla::analysis
