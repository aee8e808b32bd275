#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/encode/encoded_clip.h"
#include "data/store/latent_file_format.h"
#include "model/io/file_lock.h"

namespace vmla::data {

/// Keeps other jobs from writing `out` as long as the result lives. UserError if one is writing it
/// already, or if a file is there that may not be overwritten.
std::unique_ptr<io::FileLock> claim_output(const std::filesystem::path& out, bool overwrite);

/// A dataset that a job writes.
struct DatasetJob {
  std::filesystem::path out;
  LatentInfo info;  // clip_shape may be left empty: the clips say it
  /// The empty prompt's embedding, rows of info.text_dim.
  std::vector<float> empty_text;
  /// Of everything that decides the result (data/encode/job_fingerprint.h).
  std::string fingerprint;
  /// A part is committed after so many seconds at the latest: what a kill may cost.
  double part_seconds = 15;
};

/// The unfinished dataset of a job: OUT.parts/part-FIRST.h5, each a latent dataset file of some
/// consecutive videos, committed by rename. A video of many clips is spread over several parts, so
/// that what waits in memory has a bound; those after its first are part-FIRST_NUMBER.h5. The order
/// of clips is that of the videos, wherever the cuts between parts fall, so the merged file does
/// not depend on when a job was killed. In jobs that read no videos a prompt or a clip takes a
/// video's place. Any thread may call commit() while another adds.
class EncodeParts {
 public:
  /// Goes on from the parts of an earlier run of the same job. UserError if those that lie there
  /// are of another job.
  explicit EncodeParts(DatasetJob job);

  /// Videos finished so far: the index of the next one.
  int64_t end_video() const {
    const std::lock_guard lock(mutex_);
    return end_video_;
  }
  int64_t clips() const {
    const std::lock_guard lock(mutex_);
    return committed_clips_ + static_cast<int64_t>(pending_.size());
  }
  /// True if an earlier run of the job, ended within this video, has stored its clip already.
  bool holds(const std::string& file, int64_t first_frame) const {
    return file == last_stored_.source_file && first_frame <= last_stored_.first_frame;
  }
  const std::vector<SkippedVideo>& skipped() const { return skipped_; }

  /// Adds a clip of the current video; commits a part as end_of_video() does. The clips of a video
  /// must have different first frames, in ascending order.
  void add(EncodedClip clip);
  /// Adds a clip and ends its video, which has no other.
  void add_video(EncodedClip clip);
  /// Ends the current video; commits a part when enough clips, bytes or seconds have come together.
  /// `problem`: why the video gave no clip, or not all.
  void end_of_video(std::optional<SkippedVideo> problem);
  /// Writes the clips since the last commit as one part. RunError if the disk is full.
  void commit();
  /// Commits, merges all parts into the dataset, publishes it and removes the parts.
  void merge();
  /// Removes the parts without publishing anything.
  void remove();

 private:
  void find_finished_parts();
  void append(EncodedClip clip);
  void commit_if_due();
  void commit_pending();
  std::filesystem::path next_path() const;

  mutable std::mutex mutex_;  // of what add, end_of_video and commit change
  DatasetJob job_;
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> parts_;  // committed ones, in the order of their videos
  std::vector<SkippedVideo> skipped_;         // of all parts; those of the pending one are last
  size_t committed_skipped_ = 0;
  std::vector<EncodedClip> pending_;  // of the part that is being collected
  size_t pending_bytes_ = 0;
  int64_t committed_clips_ = 0;
  ClipRecord last_stored_;                   // by an earlier run of the job
  int64_t first_video_ = 0, end_video_ = 0;  // of the part that is being collected
  std::chrono::steady_clock::time_point last_commit_ = std::chrono::steady_clock::now();
};

/// The last words of a job that a signal stops: commits what `parts` holds, and says how many of
/// its `total` things ("clip", "prompt") that makes.
std::string commit_at_stop(EncodeParts& parts, int64_t total, std::string_view thing);

}  // namespace vmla::data
