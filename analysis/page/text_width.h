#pragma once

#include <string>
#include <string_view>

/// How wide text is drawn, for layouts that no browser computes for us.
namespace vmla::analysis {

/// The width of `text` (UTF-8) in pixels at a font size of `size` pixels: that of the widest of the
/// usual sans-serif fonts, so that text beside it never collides. Counts characters, not bytes:
/// an accent or a Greek letter is one, Chinese and emoji are as wide as they are high, combining
/// marks have no width. A byte that is no UTF-8 counts as one character.
double text_width(std::string_view text, double size);

/// `text`, or as much of its beginning as fits into `width` pixels with "…" behind it. Never cuts a
/// character in two.
std::string fitted_text(std::string_view text, double size, double width);

}  // namespace vmla::analysis
