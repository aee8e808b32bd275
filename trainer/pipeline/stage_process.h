#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

/// How a stage's process ended.
struct StageExit {
  int status = 0;  // exit status; 128 + signal when it was killed by one
  bool killed = false;
};

/// A stage that runs as a child process, in a process group of its own so that a Ctrl-C at the
/// terminal reaches it once, through its parent. It gets SIGTERM when the parent dies. The
/// destructor kills it if it still runs.
class StageProcess {
 public:
  /// Starts `argv`. With an empty `prefix` the child writes to this process's stdout and stderr
  /// itself, and may draw a progress bar; otherwise its lines pass through pump() and carry the
  /// prefix. `environment` is added to this process's.
  StageProcess(const std::vector<std::string>& argv,
               const std::map<std::string, std::string>& environment,
               const std::string& prefix);
  ~StageProcess();
  StageProcess(const StageProcess&) = delete;
  StageProcess& operator=(const StageProcess&) = delete;

  void send(int signal) const;
  /// Passes on what the child has written, a line at a time, waiting at most `wait_ms`.
  void pump(int wait_ms);
  /// True once the child has ended and everything it wrote has been passed on.
  bool ended(StageExit& how);
  /// The last line that the child wrote to stderr and that passed through pump(), without the
  /// program's "vmla: error: " in front; "" if there is none.
  const std::string& last_error() const { return last_error_; }

 private:
  struct Stream {
    int fd = -1;
    std::string pending;  // a line without its end
    bool to_stderr = false;
  };
  void read_from(Stream& stream);
  void print(Stream& stream, bool all);
  void pass_on(const Stream& stream, const std::string& line);

  std::string prefix_, last_error_;
  pid_t pid_ = -1;
  Stream out_, err_;
};

}  // namespace vmla::trainer
