#pragma once

#include "model/io/shared_save.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/host_copy.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>

namespace vmla::trainer {

/// Which checkpoints stay (prune_checkpoints).
struct Retention {
  int64_t keep_last = 1;
  int64_t keep_every = 0;
};

/// Saves checkpoints in the background, alone or as one of several writers. A thread copies the
/// state to the host's memory while the next forward and backward run, for the state changes only
/// in the optimizer's update; then hashes, writes, flushes and commits; and, on writer 0, removes
/// what Retention no longer wants. All methods on one thread, except cancel().
class CheckpointWriter {
 public:
  /// UserError if no checkpoint can be written here. Writer 0 removes what saves of earlier
  /// attempts left in the folder, so it must own the run. `place.serial` is counted here: all
  /// writers begin the same saves in the same order.
  /// `everywhere(here)`, if given, says on all writers alike whether `here` is true on each;
  /// finish() asks it until every writer has saved, so that one which is lost is noticed as in any
  /// collective.
  CheckpointWriter(const std::filesystem::path& checkpoints,
                   io::SavePlace place,
                   Retention retention,
                   std::function<bool(bool here)> everywhere = nullptr);
  /// Finishes; a failure is logged. Peers get a few seconds: who comes here without finish() leaves
  /// by an error, and it may be that they are gone.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Finishes the save before, then starts this one and returns. The tensors are read later: call
  /// before_update() before anything writes them.
  void begin(CheckpointShare share);
  /// Returns when the tensors given to begin() may be written. Rethrows a failure that is known by
  /// now.
  void before_update();
  /// Waits for the save under way. RunError in one line if it failed (SaveFailedElsewhere: another
  /// writer says why); the checkpoints before it are intact.
  void finish();
  /// Ends waiting for other writers, which are known to be gone. Any thread.
  void cancel() { cancelled_ = true; }

  /// Seconds that begin(), before_update() and finish() took since this was asked last.
  double take_waited_seconds();

 private:
  void finish_everywhere();
  void save(CheckpointShare share, const io::SavePlace& place, std::promise<void> copied);

  std::filesystem::path checkpoints_;
  io::SavePlace place_;
  Retention retention_;
  HostCopy copy_;
  std::future<void> copied_, saved_;
  std::function<bool(bool here)> everywhere_;
  bool begun_ = false;  // a save that finish() has not seen yet; the same on all writers
  std::atomic<bool> cancelled_ = false;
  double waited_seconds_ = 0;
};

}  // namespace vmla::trainer
