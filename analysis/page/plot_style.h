#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// Colours of plots and the CSS behind them. Colours are CSS variables, so that one plot is
/// readable on light and on dark pages.
namespace vmla::analysis {

/// Distinct colours for a few series; the ninth is the first again.
std::string series_colour(size_t index);

/// A scale of colours for many series that have an order: layer `index` of `count`.
std::string layer_colour(size_t index, size_t count);

/// The colour of the null baseline: ranks of products of random matrices.
inline constexpr char kNullColour[] = "var(--null)";

/// The CSS that plots and series_colour() need; once a page.
std::string plot_style();

/// `svg` with that CSS inside it and an XML header: a file that stands by itself.
std::string standalone_svg(const std::string& svg);

/// CSS without its line breaks and the spaces that begin its lines.
std::string compact_css(std::string_view rules);

}  // namespace vmla::analysis
