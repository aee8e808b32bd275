#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// Pieces of a self-contained HTML page. Arguments called HTML are put in as they are: what comes
/// from outside (prompts, file names, settings) goes through escape_html first.
namespace vmla::analysis {

/// `text` with the characters that have a meaning in HTML and SVG replaced. Bytes that are not
/// valid UTF-8 are kept.
std::string escape_html(std::string_view text);

/// Base 64 of `bytes` (RFC 4648), for data: addresses.
std::string base64(std::string_view bytes);

/// A whole page. It embeds its styles, and loads nothing from anywhere. At its foot stands which
/// program wrote it, when and where (page_origin.h).
struct Page {
  std::string title;     // plain text
  std::string subtitle;  // plain text
  std::string body;      // HTML
};
std::string html_page(const Page& page);

/// A section of a page.
struct Section {
  std::string heading;       // plain text
  std::string meaning = {};  // HTML: what is shown and how to read it; "" leaves it out
  std::string content;       // HTML
};
std::string html_section(const Section& section);

/// Figures side by side, each in a card: the value large, its label below. Plain text.
struct Card {
  std::string label, value;
};
std::string figure_cards(const std::vector<Card>& cards);

/// Plots (HTML) in two columns; in one on narrow screens.
std::string plot_grid(const std::vector<std::string>& plots);

/// A table of cells (HTML), row by row, below its heads (HTML). The first column is aligned left.
/// Where it is wider than the screen it scrolls by itself, a shadow at its edge says that there is
/// more, and on narrow screens words do and the first column stays in view.
std::string table(const std::vector<std::string>& heads,
                  const std::vector<std::vector<std::string>>& rows);

/// One column of a table whose rows are values of type Row: its head, and the cell of a row (HTML).
template <class Row>
struct Column {
  std::string head;
  std::function<std::string(const Row&)> cell;
};

/// The table of `rows`, in the order of `columns`: each column's head stands beside what it shows.
template <class Row>
std::string table_of(const std::vector<Column<Row>>& columns, const std::vector<Row>& rows) {
  std::vector<std::string> heads;
  for (const Column<Row>& column : columns) heads.push_back(column.head);
  std::vector<std::vector<std::string>> cells;
  for (const Row& row : rows) {
    std::vector<std::string>& line = cells.emplace_back();
    for (const Column<Row>& column : columns) line.push_back(column.cell(row));
  }
  return table(heads, cells);
}

/// Room between a plot or a table and the table below it.
inline constexpr char kGap[] = "<h3></h3>";

/// A drawing (HTML) that keeps a readable width on narrow screens and scrolls there as a table
/// does.
std::string wide_panel(const std::string& drawing);

/// A sentence (plain text) that says what is not there, and why.
std::string absence(const std::string& sentence);

/// A mark (HTML, green or red) for what is as it should be or not: `text` behind ✓ or ✗.
std::string verdict_mark(bool good, std::string_view text = "");

}  // namespace vmla::analysis
