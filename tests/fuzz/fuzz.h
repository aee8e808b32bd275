#pragma once

#include "model/io/error.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

/// What the fuzz targets share. A target gives one of the program's parsers whatever bytes
/// libFuzzer has thought of. The parser may refuse them, but only as it must refuse a user's file:
/// with UserError or RunError, whose message is one line. Everything else ends the target, which
/// libFuzzer reports with the input: other exceptions, what the sanitizers find, more than a second
/// of time, and single allocations above the limit that run.py sets.
namespace vmla::fuzz {

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Ends the target unless `message` is one line: some text, and no control character that could
/// start another line or reach the terminal.
inline void expect_one_line(std::string_view message) {
  bool printable = !message.empty();
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    printable = printable && byte >= 0x20 && byte != 0x7f;
  }
  if (printable) return;
  std::fprintf(
      stderr, "not one line of text: <%.*s>\n", static_cast<int>(message.size()), message.data());
  std::abort();
}

/// Ends the target unless `holds`.
inline void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

/// Runs `parse`, which may refuse its input in one line; returns whether it accepted it.
template <class Parse>
bool accepts(const Parse& parse) {
  try {
    parse();
    return true;
  } catch (const UserError& error) {
    expect_one_line(error.what());
  } catch (const RunError& error) {
    expect_one_line(error.what());
  }
  return false;
}

}  // namespace vmla::fuzz
