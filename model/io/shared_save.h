#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"

/// A checkpoint folder that several processes write together. They coordinate by files alone and
/// not by collectives, so that a background thread can save while the training thread uses the
/// communicators. The checkpoints folder must be on a file system that all of them share.
///
/// CHECKPOINTS/.saving-ATTEMPT+SERIAL/ holds `step_N/`, the checkpoint in the making, and one file
/// of each writer: `part-RRRRR.writing`, which is renamed to `.done` when it holds what the writer
/// wrote, or to `.failed` when it holds the reason. (A rename needs no space on a full disk.)
/// Writer 0 waits for all, renames `step_N` into place and removes the folder, by which the others
/// know that the save has succeeded. It has failed once writer 0's file is called `.failed`.
namespace vmla::io {

/// Which of the writers this process is, and which save this is.
struct SavePlace {
  int64_t writer = 0;
  int64_t writers = 1;
  std::string attempt;            // names this start of the run, the same for all writers; no '/'
  int64_t serial = 0;             // number of the save within the attempt, the same for all writers
  double timeout_seconds = 1800;  // how long the first writer to finish waits for the last
};

/// The save failed at another writer, which reports the reason.
class SaveFailedElsewhere : public RunError {
 public:
  using RunError::RunError;
};

class SharedSave {
 public:
  /// A save of CHECKPOINTS/NAME. Once `cancelled` is true, waits end with SaveFailedElsewhere; it
  /// may be null and must outlive the object.
  SharedSave(const std::filesystem::path& checkpoints,
             const std::string& name,
             const SavePlace& place,
             const std::atomic<bool>* cancelled);

  /// Whether writer 0 has declared the save failed.
  bool failed() const;
  /// Creates the folder and this writer's file in it. SaveFailedElsewhere if the save has failed
  /// already.
  void enter();
  /// Where this writer puts its files.
  const std::filesystem::path& folder() const { return payload_; }

  /// Declares this writer's files complete. RunError if that cannot be written.
  void leave_part(const CheckpointPart& part);
  /// Declares that this writer failed because of `problem`. On writer 0 that ends the save for all,
  /// and removes what was written. Never throws: if not even the declaration can be written, the
  /// others wait until their time is up.
  void fail(const std::string& problem) noexcept;

  /// On writer 0: waits for the parts of all writers and returns them in the writers' order.
  /// SaveFailedElsewhere if one of them failed; RunError names those that did not finish in time.
  std::vector<CheckpointPart> collect_parts() const;
  /// On writer 0: renames the complete folder into place, makes `latest` point to it, and removes
  /// the shared folder, which tells the others.
  void commit();
  /// On the others: returns once the checkpoint is in place. SaveFailedElsewhere if the save
  /// failed.
  void wait_for_commit() const;

 private:
  std::filesystem::path part(int64_t writer, const char* state) const;
  void expect_alive(double waited_seconds, double limit, const std::string& missing) const;

  std::filesystem::path checkpoints_, shared_, payload_;
  std::string name_;
  SavePlace place_;
  const std::atomic<bool>* cancelled_;
};

/// Removes what saves of earlier attempts left behind. Only the process that owns the run folder
/// may call it, at its start.
void remove_abandoned_saves(const std::filesystem::path& checkpoints, const std::string& attempt);

}  // namespace vmla::io
