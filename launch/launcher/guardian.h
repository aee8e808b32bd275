#pragma once

#include <sys/types.h>

#include <filesystem>

namespace vmla::launch {

/// A small process that outlives the launcher by a moment: when the launcher is gone, however it
/// went, it kills the process group of every worker that is still listed, with everything the
/// workers have started, and removes the launcher's temporary folder. (Workers die with the
/// launcher by PR_SET_PDEATHSIG already; their children would not.)
class Guardian {
 public:
  /// Forks; to be called before anything else that forks. `temporary_folder` may be empty.
  explicit Guardian(const std::filesystem::path& temporary_folder);
  /// Lets it go and waits for its end.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  void watch(pid_t process_group);
  /// To be called while the group's leader is not reaped yet: afterwards its number may be
  /// another's.
  void forget(pid_t process_group);

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

}  // namespace vmla::launch
