#pragma once

#include "model/io/shared_save.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/host_copy.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>

namespace vmla::trainer {

/// Saves checkpoints in the background, alone or as one of several writers. A thread copies the
/// state to the host's memory while the next forward and backward run: the state changes only in
/// the optimizer's update, which waits for the copy. The thread then hashes, writes, flushes and
/// commits, and on writer 0 removes the checkpoints that `retention` does not keep. One save is
/// under way at a time. All methods are for one thread, except cancel().
class CheckpointWriter {
 public:
  /// UserError if no checkpoint can be written here. Writer 0 removes what saves of earlier
  /// attempts left in the folder, so it must own the run. `place.serial` is counted here: all
  /// writers begin the same saves in the same order.
  /// `everywhere(here)`, if given, is a collective that says on all writers whether `here` is true
  /// on each. finish() calls it until every writer has saved: a writer that is lost is then noticed
  /// as in any collective, and not by a file that does not come.
  CheckpointWriter(const std::filesystem::path& checkpoints,
                   io::SavePlace place,
                   Retention retention,
                   std::function<bool(bool here)> everywhere = nullptr);
  /// Waits for the save under way, of which a failure is logged. Other writers get a few seconds
  /// only: who comes here without finish() leaves by an error, and they may be gone.
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
  std::future<void> copied_, saved_;  // of the save under way; not valid: there is none
  std::function<bool(bool here)> everywhere_;
  /// A save was begun that finish() has not seen yet. The same on all writers, which saved_ is not:
  /// before_update() may have taken its failure.
  bool begun_ = false;
  std::atomic<bool> cancelled_ = false;
  double waited_seconds_ = 0;
};

}  // namespace vmla::trainer
