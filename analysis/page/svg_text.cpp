#include "analysis/page/svg_text.h"

#include "analysis/page/html_text.h"
#include "model/io/format.h"

namespace vmla::analysis {

std::string open_svg(const SvgFrame& frame) {
  return formatted(
      R"(<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" viewBox="0 0 {} {}" )"
      R"(aria-label="{}">)",
      frame.width,
      frame.height,
      escape_html(frame.title));
}

}  // namespace vmla::analysis
