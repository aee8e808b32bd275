#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"

/// A checkpoint folder that several processes write together. They agree by files alone, so that it
/// works from a background thread while the processes' collectives do something else; the folder is
/// shared anyway, or there would be no checkpoint of them all.
///
/// CHECKPOINTS/.saving-ATTEMPT+SERIAL/ holds `step_N/`, which is renamed into place at the end, and
/// of each writer `part-RRRRR.writing`, renamed to `.done` (what it wrote) or `.failed` (why not):
/// a rename needs no room on a full disk. Writer 0 saying `.failed` means that the save failed.
/// Having saved, it removes the folder, which is how the others know.
namespace vmla::io {

/// Who writes, among whom.
struct SavePlace {
  int64_t writer = 0;
  int64_t writers = 1;
  std::string attempt;  // the same for all writers, another for each start of the run; no '/'
  int64_t serial = 0;   // of the save within the attempt, the same for all writers
  double timeout_seconds = 1800;  // the most that the slowest may take after the first
};

/// The save failed for a reason that another writer knows, and says.
class SaveFailedElsewhere : public RunError {
 public:
  using RunError::RunError;
};

class SharedSave {
 public:
  /// A save of CHECKPOINTS/NAME. `cancelled` (may be null) ends every wait.
  SharedSave(const std::filesystem::path& checkpoints,
             const std::string& name,
             const SavePlace& place,
             const std::atomic<bool>* cancelled);

  /// Whether writer 0 has said that the save failed; of use to the others.
  bool failed() const;
  /// Takes part. SaveFailedElsewhere if the save failed already.
  void enter();
  /// Where this writer puts its files.
  const std::filesystem::path& folder() const { return payload_; }

  /// Says that this writer's files are on disk. RunError if that cannot be written.
  void leave_part(const CheckpointPart& part);
  /// Says that the save fails because of `problem`; on writer 0 for all, and what was written is
  /// removed. Never throws: with the last resort gone, the others wait until their time is up.
  void fail(const std::string& problem) noexcept;

  /// Writer 0: waits until every writer has left its part; they are returned in the writers' order.
  /// SaveFailedElsewhere when one of them failed; RunError names those that did not come in time.
  std::vector<CheckpointPart> collect_parts() const;
  /// Writer 0: moves the complete folder into place, `latest` to it, and tells the others.
  void commit();
  /// The others: returns when the checkpoint is in place. SaveFailedElsewhere if it never will be.
  void wait_for_commit() const;

 private:
  std::filesystem::path part(int64_t writer, const char* state) const;
  void expect_alive(double waited_seconds, double limit, const std::string& missing) const;

  std::filesystem::path checkpoints_, shared_, payload_;
  std::string name_;
  SavePlace place_;
  const std::atomic<bool>* cancelled_;
};

/// Removes what saves of other attempts left behind. For the one process that owns the run folder,
/// at its start.
void remove_abandoned_saves(const std::filesystem::path& checkpoints, const std::string& attempt);

}  // namespace vmla::io
