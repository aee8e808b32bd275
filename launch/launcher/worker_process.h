#pragma once

#include <poll.h>
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
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
  std::vector<std::string> argv;                   // argv[0] is looked for in PATH
  std::map<std::string, std::string> environment;  // added to ours; empty: taken away
  std::vector<int> cpus;                           // empty: where we may run
  int inherited_fd = -1;                           // stays open in it
  std::filesystem::path log_folder;                // empty: no log files
  std::filesystem::path error_file;
};

/// A worker: a child in a session and process group of its own, which dies with the launcher. What
/// it writes comes through pipes. The destructor kills its group.
class WorkerProcess {
 public:
  /// A line of the worker's: whether on stderr, and its text.
  using ShowLine = std::function<void(bool to_stderr, std::string text)>;

  /// Starts it. RunError when the system does not allow that.
  WorkerProcess(const WorkerOrder& order, const SignalQueue& signals, Guardian& guardian);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  /// To the whole group. After SIGTERM and SIGKILL its end counts as our doing.
  void send(int signal);
  void stop(int signal);

  bool running() const { return pid_ > 0; }
  void wait_for(std::vector<pollfd>& descriptors) const;
  /// Passes on what it has written.
  void read(const ShowLine& show);
  /// True once when it has ended: kills what it left behind in its group, passes on its last lines
  /// and says how it ended.
  bool ended(const ShowLine& show, WorkerEnd& how);

 private:
  struct Stream {
    int fd = -1;
    int log = -1;  // the file it is copied to
    bool to_stderr = false;
    std::string pending;  // a line without its end
  };
  void open_logs(const WorkerOrder& order);
  void read_from(Stream& stream, const ShowLine& show);
  void take_lines(Stream& stream, bool all, const ShowLine& show);
  void copy_to_log(Stream& stream, const char* bytes, size_t count);

  Guardian& guardian_;
  int64_t rank_;
  std::filesystem::path error_file_;
  Clock::time_point started_;
  pid_t pid_ = -1;
  bool stopped_by_us_ = false;
  Stream out_, err_;
  std::deque<std::string> last_lines_;  // of stderr
};

/// The text of a finished line: without what a progress bar has overwritten (before the last
/// carriage return).
std::string visible_text(const std::string& line);

}  // namespace vmla::launch
