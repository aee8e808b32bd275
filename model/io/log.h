#pragma once

#include <filesystem>
#include <string_view>

#include "model/io/format.h"

/// The logging facade. spdlog stays behind it: its headers and LibTorch's do not compile in one
/// file. Informational lines go to stdout, warnings and errors to stderr, all of them to the run's
/// log file.
namespace vmla::log {

void info(std::string_view line);
void warn(std::string_view line);
void error(std::string_view line);

/// The same from a template and its values (format.h).
template <class... Values>
  requires(sizeof...(Values) > 0)
void info(FormatFor<Values...> line, const Values&... values) {
  info(formatted(line, values...));
}
template <class... Values>
  requires(sizeof...(Values) > 0)
void warn(FormatFor<Values...> line, const Values&... values) {
  warn(formatted(line, values...));
}
template <class... Values>
  requires(sizeof...(Values) > 0)
void error(FormatFor<Values...> line, const Values&... values) {
  error(formatted(line, values...));
}

/// Appends every line, with a time stamp, to `file` from now on (and no longer to an earlier one).
void set_file(const std::filesystem::path& file);
void close_file();

/// With true, info() writes to the file only: for commands whose stdout is a table a program reads.
void set_quiet(bool quiet);

/// With true, info() and warn() say nothing at all: for ranks that would only repeat the lead.
void set_muted(bool muted);

/// Draws a progress bar on a terminal (rewriting one line) and nothing elsewhere.
class ProgressBar {
 public:
  ProgressBar(std::string_view label, long total);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Shows `done` of the total, the rate, the time left, and `note` behind it.
  void update(long done, std::string_view note = {});

 private:
  struct State;
  State* state_;
};

}  // namespace vmla::log
