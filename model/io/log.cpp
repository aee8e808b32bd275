// The only file that sees spdlog.
#include "model/io/log.h"

#include <fcntl.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "model/io/error.h"
#include "model/io/quoted_name.h"
#include "model/io/regular_file.h"

namespace vmla::log {
namespace {

using Clock = std::chrono::steady_clock;

/// Appends formatted lines to a file that it owns.
class FileSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit FileSink(int fd) : fd_(fd) {}
  ~FileSink() override { close(fd_); }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    const char* next = line.data();
    for (size_t left = line.size(); left > 0;) {
      const ssize_t count = write(fd_, next, left);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw spdlog::spdlog_ex(std::strerror(errno));
      next += count;
      left -= static_cast<size_t>(count);
    }
  }
  void flush_() override {}

  int fd_;
};

/// Where lines go, and settings. Made at the first line and never destroyed, because destructors of
/// other statics may still log.
struct Loggers {
  std::mutex mutex;
  bool muted = false;
  size_t bar_columns = 0;  // of a progress bar that stands on the terminal, without a newline
  std::unique_ptr<spdlog::logger> file;
};

Loggers& loggers() {
  static Loggers* const instance = new Loggers;
  return *instance;
}

size_t terminal_columns() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

/// Erases the progress bar; its next update draws it again. Where the terminal has become narrower
/// since, it shows the bar in several rows. The caller holds the mutex.
void clear_bar(Loggers& all) {
  if (all.bar_columns == 0) return;
  const size_t rows_above = (all.bar_columns - 1) / terminal_columns();
  if (rows_above > 0) std::fprintf(stderr, "\033[%zuA", rows_above);
  std::fputs(rows_above > 0 ? "\r\033[J" : "\r\033[K", stderr);
  std::fflush(stderr);
  all.bar_columns = 0;
}

/// Whether lines on the stream may be coloured: it is a terminal, and nobody objects
/// (https://no-color.org).
bool has_colour(std::FILE* stream) {
  const char* const no = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  const bool dumb = terminal != nullptr && std::strcmp(terminal, "dumb") == 0;
  return (no == nullptr || *no == '\0') && !dumb && isatty(fileno(stream)) == 1;
}

/// The line as a terminal gets it: red up to "error:", or yellow as a whole.
std::string coloured(spdlog::level::level_enum level, const std::string& line) {
  const std::string end = "\033[0m";
  if (level == spdlog::level::warn) return "\033[33m" + line + end;
  const std::string mark = "error:";
  const size_t begin = line.find(mark);
  if (begin == std::string::npos) return "\033[1;31m" + line + end;
  const size_t behind = begin + mark.size();
  return "\033[1;31m" + line.substr(0, behind) + end + line.substr(behind);
}

/// A failed write is passed over: that nobody reads the output any more, or that the disk it goes
/// to is full, is no reason to stop a run.
void put(std::FILE* stream, std::string line) {
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stream);
  std::fflush(stream);
  std::clearerr(stream);
}

void emit(spdlog::level::level_enum level, std::string_view text) {
  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  if (all.muted && level != spdlog::level::err) return;
  const std::string line = io::printable(text);
  if (all.file) all.file->log(level, spdlog::string_view_t(line.data(), line.size()));
  clear_bar(all);
  std::FILE* const stream = level == spdlog::level::info ? stdout : stderr;
  const bool colours = level != spdlog::level::info && has_colour(stream);
  put(stream, colours ? coloured(level, line) : line);
}

/// The beginning of a printable text that fits `columns`, and how many it takes: a character counts
/// as one.
std::pair<std::string_view, size_t> fitting(std::string_view text, size_t columns) {
  size_t bytes = 0, used = 0;
  while (bytes < text.size()) {
    size_t next = bytes + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0) == 0x80) ++next;
    if (used == columns) break;
    bytes = next;
    ++used;
  }
  return {text.substr(0, bytes), used};
}

}  // namespace

std::string clock_text(double seconds) {
  const long total = std::lround(std::clamp(seconds, 0.0, 3.6e6));
  const long hours = total / 3600, minutes = total / 60, seconds_left = total % 60;
  if (hours == 0) return formatted("{}:{:02}", minutes, seconds_left);
  return formatted("{}:{:02}:{:02}", hours, minutes % 60, seconds_left);
}

void info(std::string_view line) {
  emit(spdlog::level::info, line);
}
void warn(std::string_view line) {
  emit(spdlog::level::warn, line);
}
void error(std::string_view line) {
  emit(spdlog::level::err, line);
}

void pass_on(bool to_stderr, std::string_view line) {
  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  clear_bar(all);
  put(to_stderr ? stderr : stdout, std::string(line));
}

void set_file(const std::filesystem::path& file) {
  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  all.file.reset();
  const int fd = io::open_regular_file(file, O_WRONLY | O_CREAT | O_APPEND);
  if (fd < 0) fail_run("cannot write the log file {}: {}", file.string(), io::open_problem(errno));
  all.file = std::make_unique<spdlog::logger>("file", std::make_shared<FileSink>(fd));
  all.file->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
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
  line = io::printable(line);

  Loggers& all = loggers();
  const std::lock_guard lock(all.mutex);
  // The last column stays free: a terminal that shows a character there may go to the next row.
  const size_t columns = terminal_columns();
  const auto [shown, used] = fitting(line, columns - 1);
  if (all.bar_columns > columns) clear_bar(all);
  std::fprintf(stderr, "\r%s\033[K", std::string(shown).c_str());
  std::fflush(stderr);
  all.bar_columns = used;
}

}  // namespace vmla::log
