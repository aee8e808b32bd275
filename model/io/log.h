#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "model/io/format.h"

/// What the program says while it runs. Informational lines go to stdout, warnings and errors to
/// stderr, and all of them to the run's log file, each as printable() text in one line
/// (quoted_name.h). On a terminal warnings and errors are coloured, unless NO_COLOR is set. Output
/// that nobody takes any more is dropped. Any thread may call these functions. They hide spdlog,
/// whose headers and LibTorch's do not compile in one file.
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

/// Shows a line of another process' as it is; it does not go to the log file.
void pass_on(bool to_stderr, std::string_view line);

/// From now on every line is also appended to `file`, with a time stamp, instead of to an earlier
/// file. RunError if it cannot be written, or is a link or no regular file.
void set_file(const std::filesystem::path& file);
void close_file();

/// With true, info() and warn() do nothing: for ranks that would only repeat what rank 0 says.
void set_muted(bool muted);

/// "1:02:03" or "2:03".
std::string clock_text(double seconds);

/// A progress bar on stderr, redrawn in one line, where that is a terminal; nothing elsewhere.
class ProgressBar {
 public:
  ProgressBar(std::string_view label, long total);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Shows `done` of the total, the rate, the time left, then `note`.
  void update(long done, std::string_view note = {});

 private:
  struct State;
  State* state_;
};

}  // namespace vmla::log
