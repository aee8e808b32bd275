#include "analysis/page/plot_style.h"

#include <cmath>

#include "model/io/format.h"

namespace vmla::analysis {
namespace {

constexpr std::string_view kPlotStyle = R"css(
  :root{--c0:#2f6fdb;--c1:#d9622b;--c2:#1f9d6b;--c3:#a845b5;--c4:#b58900;--c5:#1695a8;
      --c6:#d23f5f;--c7:#6d7480;--ink:#1c2330;--muted:#667085;--grid:#e3e7ee;--null:#8a93a3}
  @media(prefers-color-scheme:dark){:root{--c0:#6ea3ff;--c1:#ff9a62;--c2:#4fd0a0;--c3:#d48be0;
      --c4:#e3bf4a;--c5:#56cbdc;--c6:#ff7f97;--c7:#a5adba;--ink:#e8ebf1;--muted:#9aa4b5;
      --grid:#2b3240;--null:#7e8899}}
  .plot{width:100%;height:auto;display:block;font-family:system-ui,sans-serif}
  .plot .title{font-size:13px;font-weight:600;fill:var(--ink)}
  .plot .label{font-size:11.5px;fill:var(--muted)}
  .plot .tick{font-size:10.5px;fill:var(--muted)}
  .plot .grid{stroke:var(--grid);stroke-width:1;fill:none}
  .plot .axis{stroke:var(--muted);stroke-width:1;fill:none}
  .plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
  .plot .mark{stroke:var(--muted);stroke-width:1;stroke-dasharray:2 3;fill:none}
  .plot .band{stroke:none;opacity:.16}
  .plot .faint{stroke-width:1;opacity:.3}
)css";

constexpr size_t kSeriesColours = 8;  // --c0 to --c7

}  // namespace

std::string series_colour(size_t index) {
  return formatted("var(--c{})", index % kSeriesColours);
}

std::string layer_colour(size_t index, size_t count) {
  if (count <= 4) return series_colour(index);
  // Blue through magenta to amber: ordered, and readable on both pages at this lightness.
  const double share = static_cast<double>(index) / static_cast<double>(count - 1);
  return formatted("hsl({:.0f} 70% 55%)", std::fmod(215 + 190 * share, 360.0));
}

std::string plot_style() {
  return compact_css(kPlotStyle);
}

std::string standalone_svg(const std::string& svg) {
  const size_t inside = svg.find('>') + 1;  // behind the opening tag
  return formatted("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}<style>{}</style>{}\n",
                   svg.substr(0, inside),
                   plot_style(),
                   svg.substr(inside));
}

std::string compact_css(std::string_view rules) {
  std::string out;
  bool at_line_start = true;
  for (const char c : rules) {
    if (c == '\n') {
      at_line_start = true;
    } else if (c != ' ' || !at_line_start) {
      out += c;
      at_line_start = false;
    }
  }
  return out;
}

}  // namespace vmla::analysis
