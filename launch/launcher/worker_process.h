#pragma once

#include <poll.h>
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/launcher/guardian.h"
#include "launch/launcher/line_coalescer.h"
#include "launch/launcher/root_cause.h"
#include "launch/launcher/signal_queue.h"

namespace vmla::launch {

/// What a worker is started with.
struct WorkerOrder {
  int64_t rank = 0;
  std::vector<std::string> argv;  // argv[0] is looked for in PATH
  // Added to the launcher's own environment; an empty value takes a variable away.
  std::map<std::string, std::string> environment;
  std::vector<int> cpus;             // sorted; empty: those of the launcher
  int inherited_fd = -1;             // a descriptor that stays open in the worker; -1: none
  std::filesystem::path log_folder;  // empty: no log files
  std::filesystem::path error_file;  // where the worker may say in JSON why it ends
};

/// A running worker: a child process in a session and process group of its own, which dies with the
/// launcher. What it writes to stdout and stderr arrives through two pipes. The destructor kills
/// its whole group.
class WorkerProcess {
 public:
  /// Takes a line of the worker's, without its line feed, and the stream it was written to.
  using ShowLine = std::function<void(bool to_stderr, std::string text)>;

  /// Starts it. RunError when the system does not allow that.
  WorkerProcess(const WorkerOrder& order, const SignalQueue& signals, Guardian& guardian);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  /// Sends a signal to the whole group.
  void send(int signal);
  /// The same with SIGTERM or SIGKILL: its end then counts as the launcher's doing
  /// (WorkerEnd::after_stop).
  void stop(int signal);

  bool running() const { return pid_ > 0; }
  /// Adds its pipes to what poll() waits for.
  void wait_for(std::vector<pollfd>& descriptors) const;
  /// Passes on what it has written. Does not block.
  void read(const ShowLine& show);
  /// How it ended, once when it has: kills what it left behind in its group and passes on its last
  /// lines before.
  std::optional<WorkerEnd> take_end(const ShowLine& show);

 private:
  struct Stream {
    int fd = -1;   // our end of the pipe; -1: at its end
    int log = -1;  // the file it is copied to; -1: none
    bool to_stderr = false;
    std::string pending;  // the beginning of a line
  };
  void open_logs(const WorkerOrder& order);
  void read_from(Stream& stream, const ShowLine& show);
  void take_lines(Stream& stream, bool at_end, const ShowLine& show);
  void copy_to_log(Stream& stream, const char* bytes, size_t count);
  void read_rest(const ShowLine& show);

  Guardian& guardian_;
  int64_t rank_;
  std::filesystem::path error_file_;
  Clock::time_point started_;
  pid_t pid_ = -1;  // -1: it has ended
  bool stopped_by_us_ = false;
  Stream out_, err_;
  std::deque<std::string> last_lines_;  // of stderr
};

/// What a terminal would show of a finished line: the part behind the last carriage return, for a
/// progress bar overwrites itself.
std::string visible_text(const std::string& line);

}  // namespace vmla::launch
