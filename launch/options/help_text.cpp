#include "launch/options/help_text.h"

#include <algorithm>
#include <sstream>
#include <string_view>

namespace vmla::launch {
namespace {

size_t indent_of(std::string_view line) {
  return std::min(line.find_first_not_of(' '), line.size());
}

bool is_command_line(std::string_view line) {
  const std::string_view text = line.substr(indent_of(line));
  return indent_of(line) > 0 && text.starts_with("vmla");
}

/// Where the second column of a line begins: behind two blanks or more. 0 where there is none.
size_t second_column(std::string_view line) {
  const size_t gap = line.find("  ", indent_of(line));
  return gap == std::string_view::npos ? 0
                                       : std::min(line.find_first_not_of(' ', gap), line.size());
}

/// Breaks `line` between words, so that each part with `end` fits, and puts `indent` blanks before
/// each part but the first.
std::string broken(std::string line, size_t columns, size_t indent, const std::string& end) {
  std::string out;
  while (line.size() > columns) {
    size_t at = line.rfind(' ', columns - end.size());
    if (at == std::string::npos || at <= indent_of(line)) at = line.find(' ', indent_of(line));
    const size_t rest = at == std::string::npos ? at : line.find_first_not_of(' ', at);
    if (rest == std::string::npos) break;
    out += line.substr(0, line.find_last_not_of(' ', at) + 1) + end + "\n";
    line = std::string(indent, ' ') + line.substr(rest);
  }
  return out + line;
}

std::string fitted(const std::string& line, size_t columns) {
  if (line.size() <= columns) return line;
  const size_t column = second_column(line), indent = indent_of(line);
  if (!is_command_line(line)) {
    const bool is_table = column > 0 && column <= columns / 2;
    return broken(line, columns, is_table ? column : indent, "");
  }
  if (column == 0) return broken(line, columns, indent + 2, " \\");
  // What a command is for goes below it.
  const std::string command = line.substr(0, line.find_last_not_of(' ', column - 1) + 1);
  const std::string remark = std::string(indent + 4, ' ') + line.substr(column);
  return broken(command, columns, indent + 2, " \\") + "\n" +
         broken(remark, columns, indent + 4, "");
}

}  // namespace

std::string fit_columns(const std::string& help, size_t columns) {
  std::istringstream lines(help);
  std::string out;
  for (std::string line; std::getline(lines, line);) out += fitted(line, columns) + "\n";
  return out;
}

}  // namespace vmla::launch
