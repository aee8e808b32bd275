#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Pieces of a self-contained HTML page.
namespace vmla::analysis {

/// `text` with the characters that mean something in HTML and SVG replaced; bytes that are no UTF-8
/// stay.
std::string escape_html(std::string_view text);

/// Base 64 of `bytes`, for data: addresses.
std::string base64(std::string_view bytes);

/// A whole page: header with `title` and `subtitle`, then `body`. Nothing is loaded from anywhere.
std::string html_page(const std::string& title,
                      const std::string& subtitle,
                      const std::string& body);

/// A section with a heading, one or two sentences of what it means (may be empty), and its content.
std::string section(const std::string& heading,
                    const std::string& meaning,
                    const std::string& content);

/// Figures side by side: label and value.
std::string figure_cards(const std::vector<std::pair<std::string, std::string>>& figures);

/// Plots in two columns (one on narrow screens).
std::string plot_grid(const std::vector<std::string>& plots);

/// A table; cells are HTML already (escape_html them where they come from outside). The first
/// column is left-aligned.
std::string table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows);

/// A paragraph that says that something is not there, and why.
std::string absence(const std::string& sentence);

}  // namespace vmla::analysis
