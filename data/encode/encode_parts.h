#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/store/latent_file_format.h"
#include "model/io/file_lock.h"

namespace vmla::model {
class TextEncoder;
}

namespace vmla::data {

/// A clip, or a prompt, ready to be stored.
struct EncodedClip {
  ClipRecord record;
  std::vector<int64_t> shape;     // [F, C, H, W]; empty for a prompt
  std::vector<uint16_t> latents;  // bf16 bits
  std::vector<std::byte> ode;     // states, in the type that the file's info says
  std::vector<float> text;        // text_rows·text_dim
};

/// Keeps other jobs from writing `out` while the result lives. UserError if one does already, or if
/// something is there and may not be overwritten.
std::unique_ptr<io::FileLock> claim_output(const std::filesystem::path& out, bool overwrite);

/// Stores [F, C, H, W] latents in the clip, rounded to bf16.
void set_latents(EncodedClip& clip, const at::Tensor& latents_FCHW);

/// A prompt's embedding, rows of text_dim.
std::vector<float> text_rows(const model::TextEncoder& encoder, const std::string& prompt);

/// The unfinished dataset of a job: OUT.parts/part-FIRST.h5, each a latent dataset file of some
/// consecutive videos, committed by rename. The order of clips is that of the videos, wherever the
/// cuts fall, so the merged file does not depend on when a job was killed. In jobs that read no
/// videos a prompt or a clip takes a video's place.
class EncodeParts {
 public:
  /// Takes up the parts of an earlier run of the same job. UserError if those that lie there are of
  /// another job.
  EncodeParts(std::filesystem::path out,
              LatentInfo info,
              std::vector<float> empty_text,
              std::string job,
              double part_seconds);

  /// Videos finished so far: the index of the next one.
  int64_t end_video() const { return end_video_; }
  int64_t clips() const { return committed_clips_ + static_cast<int64_t>(pending_.size()); }
  const std::vector<SkippedVideo>& skipped() const { return skipped_; }

  void add(EncodedClip clip);
  /// Ends the current video; commits a part when enough has come together.
  void end_of_video(std::optional<SkippedVideo> problem);
  void commit();
  /// Publishes the dataset and removes the parts.
  void merge();
  void remove();

 private:
  void take_up();

  std::filesystem::path out_, folder_;
  LatentInfo info_;
  std::vector<float> empty_text_;
  std::string job_;
  double part_seconds_;
  std::vector<std::filesystem::path> parts_;
  std::vector<SkippedVideo> skipped_;
  size_t committed_skipped_ = 0;
  std::vector<EncodedClip> pending_;
  size_t pending_bytes_ = 0;
  int64_t committed_clips_ = 0;
  int64_t first_video_ = 0, end_video_ = 0;  // of the part being collected
  std::chrono::steady_clock::time_point last_commit_ = std::chrono::steady_clock::now();
};

}  // namespace vmla::data
