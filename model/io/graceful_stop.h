#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace vmla::data {

/// Lets a long job end within two seconds of SIGINT, SIGTERM, SIGHUP, SIGQUIT or SIGUSR1, with
/// status 75 and what it has finished on disk. The job looks for a signal where it can stop; where
/// it does not get there within a second (a batch of a large network, a video that decodes slowly),
/// a thread of this object saves and ends the process. A second SIGINT ends it at once. One object
/// at a time; the destructor puts the former handlers back.
class GracefulStop {
 public:
  /// Keeps what is finished and says in words what that is. Called once, by the job's thread or,
  /// while that computes, by another: what the two touch needs a lock.
  using Save = std::function<std::string()>;
  explicit GracefulStop(Save save);
  ~GracefulStop();
  GracefulStop(const GracefulStop&) = delete;
  GracefulStop& operator=(const GracefulStop&) = delete;

  /// Throws StopRequested, after `save`, if a signal came. For one thread.
  void check();
  /// True from the signal on. For any thread.
  static bool is_asked();

 private:
  void watch();

  Save save_;
  std::mutex mutex_;  // of what is below
  std::condition_variable changed_;
  bool taken_ = false;  // somebody saves, or has saved
  bool saved_ = false;
  bool ended_ = false;  // the job is over
  std::string what_;    // was saved
  std::thread watcher_;
};

}  // namespace vmla::data
