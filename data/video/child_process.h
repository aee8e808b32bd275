#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <string>

namespace vmla::data {

/// A child process with pipes on its stdin and stdout; its stderr goes to /dev/null. It owns the
/// parent's two ends, which no other child inherits. The destructor closes them and kills the
/// child. Not thread-safe: one thread at a time.
class ChildProcess {
 public:
  /// RunError if the program cannot be started.
  explicit ChildProcess(const std::filesystem::path& program);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Blocks until the child has room for all of it; false when the child is gone.
  bool write(const void* bytes, size_t count);
  enum class Read { kDone, kClosed, kTimeout };
  /// Reads exactly `count` bytes; the time spent waiting is taken off `seconds_left`.
  Read read(void* into, size_t count, double& seconds_left);
  /// Kills the child if it still runs, waits for it, and says in words how it ended.
  std::string kill_and_describe();

 private:
  pid_t pid_ = -1;  // -1 once it was waited for
  int to_child_ = -1;
  int from_child_ = -1;
};

}  // namespace vmla::data
