#pragma once

#include <string>
#include <string_view>

namespace vmla::io {

/// To be called before a JSON parser builds a document of `text`, which others may have written.
/// UserError names `file_name` where the text is nested deeper than any file that this program
/// reads (64 levels: writing or walking a document calls itself once a level), or holds a zero byte
/// anywhere, which the parser would take for the end. Anything else that is wrong is the
/// parser's to find.
void check_json_text(std::string_view text, const std::string& file_name);

}  // namespace vmla::io
