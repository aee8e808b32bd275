#include "model/io/csv.h"

#include <cstdint>

#include "model/io/error.h"

namespace vmla::io {

std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& where) {
  // Spreadsheets write a byte order mark.
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row = {""};
  int64_t line = 1, quote_line = 0;  // quote_line: where the open quote began
  bool quoted = false;               // inside a pair of quotes
  const auto end_row = [&] {
    if (row.size() > 1 || !row[0].empty()) rows.push_back(std::move(row));
    row = {""};
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      const bool doubled = c == '"' && i + 1 < text.size() && text[i + 1] == '"';
      if (doubled) ++i;
      if (c == '"' && !doubled) {
        quoted = false;
      } else {
        row.back().push_back(c);
      }
    } else if (c == '"' && row.back().empty()) {
      quoted = true;
      quote_line = line;
    } else if (c == ',') {
      row.emplace_back();
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r' || (i + 1 < text.size() && text[i + 1] != '\n')) {  // not that of CRLF
      row.back().push_back(c);
    }
  }
  if (quoted) fail_user("{}: the quote opened in line {} is never closed", where, quote_line);
  end_row();
  return rows;
}

std::string csv_row(const std::vector<std::string>& fields) {
  std::string row;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) row += ',';
    if (fields[i].find_first_of(",\"\r\n") == std::string::npos) {
      row += fields[i];
      continue;
    }
    row += '"';
    for (const char c : fields[i]) row += c == '"' ? std::string("\"\"") : std::string(1, c);
    row += '"';
  }
  return row + "\n";
}

}  // namespace vmla::io
