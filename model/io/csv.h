#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vmla::io {

/// Rows of comma-separated values (RFC 4180: quotes, doubled quotes, line breaks inside quotes;
/// CRLF or LF). Empty lines are left out. UserError, naming `where` and the line, for a quote that
/// is never closed.
std::vector<std::vector<std::string>> parse_csv(std::string_view text, const std::string& where);

/// One row with its line break; fields are quoted where they must be.
std::string csv_row(const std::vector<std::string>& fields);

}  // namespace vmla::io
