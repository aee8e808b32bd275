#pragma once

#include <atomic>
#include <filesystem>

#include "model/io/shared_save.h"
#include "trainer/checkpoint/checkpoint.h"

namespace vmla::trainer {

/// Writes CHECKPOINTS_FOLDER/step_N and moves `latest` to it. On any failure (RunError) the
/// checkpoints that were there, and `latest`, are as before.
///
/// Several writers each call it with their shares, which together hold every element once (what
/// several ranks hold alike, one of them saves). The call returns when the checkpoint is in place;
/// it fails on all of them if it fails on one (io::SaveFailedElsewhere where another says why).
/// `cancelled`, which another thread may set, ends the wait for the others.
std::filesystem::path save_checkpoint(const std::filesystem::path& checkpoints_folder,
                                      const CheckpointShare& share,
                                      const io::SavePlace& place = {},
                                      const std::atomic<bool>* cancelled = nullptr);

}  // namespace vmla::trainer
