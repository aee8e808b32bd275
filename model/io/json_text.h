#pragma once

#include <string>
#include <string_view>

namespace vmla::io {

/// False where check_json_text() would throw.
bool is_harmless_json(std::string_view text);

/// To be called before a JSON parser builds a document of `text`, which others may have written.
/// UserError names `file_name` where the text is nested deeper than any file that this program
/// reads (64 levels: writing or walking a document calls itself once a level), or holds a zero byte
/// anywhere, which the parser would take for the end. Anything else that is wrong is the
/// parser's to find.
void check_json_text(std::string_view text, const std::string& file_name);

/// The document of a text that others may have written; discarded (is_discarded()) where it is no
/// valid JSON. UserError as check_json_text(). `Json` is nlohmann::json. Not the ordered one, which
/// searches all names at every name that it reads: a line of 100,000 names takes it a minute.
template <class Json>
Json parse_json(std::string_view text, const std::string& file_name) {
  check_json_text(text, file_name);
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

/// Likewise, where whatever is wrong is only passed over: discarded then too.
template <class Json>
Json parse_json_or_discard(std::string_view text) {
  const bool harmless = is_harmless_json(text);
  return Json::parse(harmless ? text : std::string_view(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace vmla::io
