#pragma once

#include <sys/types.h>

#include <filesystem>

namespace vmla::launch {

/// A small process that outlives the launcher by a moment. When the launcher has ended, in whatever
/// way, it kills every process group that is still watched, and removes the launcher's temporary
/// folder. Workers die with the launcher without it (PR_SET_PDEATHSIG), but the processes they have
/// started would not.
class Guardian {
 public:
  /// Forks; to be called before anything else that forks. `temporary_folder` may be empty.
  explicit Guardian(const std::filesystem::path& temporary_folder);
  /// Tells it that the launcher ends, and waits until it has cleaned up.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  /// To be called by the group's leader, between fork() and exec(): it is safe there.
  void watch(pid_t process_group);
  /// To be called when the group's leader has ended and is not yet reaped: sooner, it may still ask
  /// to be watched; afterwards the system may give its number to a new process.
  void forget(pid_t process_group);

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

}  // namespace vmla::launch
