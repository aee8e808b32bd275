// The only file that sees spdlog.
#include "model/io/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

#include "model/io/error.h"

namespace vmla::log {
namespace {

using Clock = std::chrono::steady_clock;

/// Sinks and settings. Made at the first line and never destroyed, because destructors of other
/// statics may still log.
struct Loggers {
  std::mutex mutex;
  bool muted = false;
  bool bar_on_screen = false;  // a line without its newline stands on the terminal
  spdlog::logger out{"out", std::make_shared<spdlog::sinks::stdout_sink_st>()};
  spdlog::logger err{"err", std::make_shared<spdlog::sinks::stderr_sink_st>()};
  std::unique_ptr<spdlog::logger> file;

  Loggers() {
    out.set_pattern("%v");
    err.set_pattern("%v");
    out.flush_on(spdlog::level::trace);
    err.flush_on(spdlog::level::trace);
  }
};

Loggers& loggers() {
  static Loggers* const instance = new Loggers;
  return *instance;
}

spdlog::string_view_t view(std::string_view text) {
  return {text.data(), text.size()};
}

/// Erases the progress bar; its next update draws it again. The caller holds the mutex.
void clear_bar(Loggers& all) {
  if (!all.bar_on_screen) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  all.bar_on_screen = false;
}

void emit(spdlog::level::level_enum level, std::string_view line) {
  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  if (all.muted && level != spdlog::level::err) return;
  if (all.file) all.file->log(level, view(line));
  if (level == spdlog::level::info) {
    clear_bar(all);
    all.out.log(level, view(line));
  } else {
    clear_bar(all);
    all.err.log(level, view(line));
  }
}

/// "1:02:03" or "2:03".
std::string clock_text(double seconds) {
  const long total = std::lround(std::clamp(seconds, 0.0, 3.6e6));
  const long hours = total / 3600, minutes = total / 60, seconds_left = total % 60;
  if (hours == 0) return formatted("{}:{:02}", minutes, seconds_left);
  return formatted("{}:{:02}:{:02}", hours, minutes % 60, seconds_left);
}

size_t terminal_columns() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

void info(std::string_view line) {
  emit(spdlog::level::info, line);
}
void warn(std::string_view line) {
  emit(spdlog::level::warn, line);
}
void error(std::string_view line) {
  emit(spdlog::level::err, line);
}

void set_file(const std::filesystem::path& file) {
  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  all.file.reset();
  try {
    all.file = std::make_unique<spdlog::logger>(
        "file", std::make_shared<spdlog::sinks::basic_file_sink_st>(file.string(), false));
  } catch (const spdlog::spdlog_ex& problem) {
    fail_run("cannot write the log file {}: {}", file.string(), problem.what());
  }
  all.file->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  all.file->flush_on(spdlog::level::trace);
  // A disk that fills up must not end the run: say so once, and go on without lines in the file.
  all.file->set_error_handler(
      [told = false, name = file.string()](const std::string& what) mutable {
        if (!told)
          std::fprintf(stderr, "cannot write the log file %s: %s\n", name.c_str(), what.c_str());
        told = true;
      });
}

void close_file() {
  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  all.file.reset();
}

void set_muted(bool muted) {
  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  all.muted = muted;
}

// The bar stands on stderr: stdout may be a pipe or a table that a program reads.
struct ProgressBar::State {
  std::string label;
  long total;
  bool terminal = isatty(STDERR_FILENO) == 1;
  Clock::time_point start, last_drawn;
  long first_done = -1;  // what was done before this process (a resumed run), left out of the rate
};

ProgressBar::ProgressBar(std::string_view label, long total)
    : state_(
          new State{std::string(label), total, isatty(STDERR_FILENO) == 1, Clock::now(), {}, -1}) {}

ProgressBar::~ProgressBar() {
  if (state_->terminal) {
    Loggers& all = loggers();
    const std::lock_guard lock(all.mutex);
    clear_bar(all);
  }
  delete state_;
}

void ProgressBar::update(long done, std::string_view note) {
  State& s = *state_;
  if (!s.terminal) return;
  const auto now = Clock::now();
  if (s.first_done < 0) {
    s.first_done = done;
    s.start = now;
  }
  // Ten frames a second are enough for an eye; the last one is always drawn.
  if (now - s.last_drawn < std::chrono::milliseconds(100) && done < s.total) return;
  s.last_drawn = now;

  constexpr long kCells = 24;
  const double fraction = s.total > 0 ? std::clamp(double(done) / double(s.total), 0.0, 1.0) : 1.0;
  const long filled = std::lround(fraction * double(kCells));
  std::string line = formatted("{} [{}{}] {}/{}",
                               s.label,
                               std::string(size_t(filled), '#'),
                               std::string(size_t(kCells - filled), '.'),
                               done,
                               s.total);
  const double seconds = std::chrono::duration<double>(now - s.start).count();
  if (done > s.first_done && seconds > 0) {
    const double rate = double(done - s.first_done) / seconds;
    line += rate >= 1 ? formatted("  {:.1f}/s", rate) : formatted("  {:.3f}/s", rate);
    line += formatted("  {} left", clock_text(double(s.total - done) / rate));
  }
  if (!note.empty()) line += formatted("  {}", note);
  line.resize(std::min(line.size(), terminal_columns() - 1));

  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  std::fflush(stderr);
  all.bar_on_screen = true;
}

}  // namespace vmla::log
