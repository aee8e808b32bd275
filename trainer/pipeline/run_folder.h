#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "model/io/file_lock.h"
#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// A run folder, created or opened, and locked against other processes for as long as the object
/// lives: one stage's; a pipeline's, which holds one such folder for each stage; or a sweep's.
class RunFolder {
 public:
  enum class Kind { kStage, kPipeline, kSweep };

  /// UserError when the folder is in use (the process and its host are named), holds something that
  /// is no run, or is a run of another kind. Nothing in it is changed.
  RunFolder(std::filesystem::path folder, Kind kind);
  /// Removes the folder if it was made here and nothing was written to it.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// RunError when the folder was removed, moved or replaced since it was opened, or its
  /// mark (config.yaml, pipeline.yaml, sweep.yaml) since begin(): what is written from then on
  /// would be lost, or land in another run.
  void expect_in_place() const;

  /// Writes `text` as the mark of a pipeline's or a sweep's folder: pipeline.yaml, sweep.yaml.
  void begin_group(const std::string& text);
  /// Writes config.yaml and removes the summary.json of an earlier, shorter run: from now on the
  /// stage counts as unfinished. Call it once nothing the user gave can be wrong any more.
  void begin(const TrainConfig& config);

 private:
  /// Whether the path still leads to the folder that was opened.
  bool is_in_place() const;

  Kind kind_;
  bool made_ = false;
  std::filesystem::path path_;
  int handle_ = -1;   // of the folder itself, wherever it is
  std::string mark_;  // the file that must be in it; empty before begin()
  std::unique_ptr<io::FileLock> lock_;
};

/// Who holds the run folder's lock ("process 123 on HOST"); "" where nobody does.
std::string holder_of(const std::filesystem::path& folder);

/// Whether another value of the configuration key (`a.b`) can give another result.
bool changes_result(const std::string& key);

/// True when `folder` holds the finished run of `config`: its summary.json is there, and its
/// config.yaml differs at most in what leaves the result alone (threads, intervals of log lines,
/// loader).
bool is_finished(const std::filesystem::path& folder, const TrainConfig& config);

}  // namespace vmla::trainer
