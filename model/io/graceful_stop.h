#pragma once

#include <functional>
#include <string>

namespace vmla::io {

/// Lets a long job end within two seconds of SIGINT, SIGTERM, SIGHUP, SIGQUIT or SIGUSR1, with
/// status 75 and what it has finished on disk. The job looks for a signal where it can stop; where
/// it does not get there within a second (a batch of a large network, a video that decodes slowly),
/// another thread saves and ends the process. A second SIGINT ends it at once.
///
/// Objects may be nested: a program has one for the whole of a command, and a part of it that can
/// say better what is kept has its own meanwhile. The innermost counts. When the outermost goes,
/// the former handlers are back.
class GracefulStop {
 public:
  /// Keeps what is finished and says in words what that is. Called once, by the job's thread or,
  /// while that computes, by another: what the two touch needs a lock. Null: no other thread ends
  /// this part of the job; it looks for itself, by signal_name(), and ends by stop(). The second
  /// begins anew when such a part is over.
  using Save = std::function<std::string()>;
  explicit GracefulStop(Save save);
  ~GracefulStop();
  GracefulStop(const GracefulStop&) = delete;
  GracefulStop& operator=(const GracefulStop&) = delete;

  /// Throws StopRequested, after `save`, if a signal came.
  void check();
  /// Throws StopRequested, which says `saved`, whether a signal came to this process or to another
  /// of the job. Nothing limits how long the job then takes to unwind.
  [[noreturn]] void stop(const std::string& saved);

  /// True from the signal on, as long as any object lives. For any thread.
  static bool is_asked();
  /// "SIGTERM"; null while no signal came. For any thread.
  static const char* signal_name();

 private:
  Save save_;

  friend class StopWatch;
};

}  // namespace vmla::io
