#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "data/video/video_writer.h"
#include "trainer/evaluation/latent_writer.h"
#include "trainer/evaluation/sample_list.h"
#include "trainer/evaluation/video_sampler.h"

namespace vmla::trainer {

/// Streams the chunks of a request's videos into their files.
class VideoFiles {
 public:
  using Encoders = std::vector<std::shared_ptr<data::ChildProcess>>;
  /// `encoders`: processes that encode, one for each video at least, which the next batch's use
  /// again. Refers to the sampler and the request.
  VideoFiles(const VideoSampler& sampler,
             const VideoSampler::Request& request,
             int64_t pixel_frames,
             std::filesystem::path folder,
             bool save_latents,
             Encoders encoders);

  /// True: the chunk was the last of its video, whose files are in their places now.
  bool take(const SampledChunk& chunk);

  /// Of all videos, in the order of the prompts.
  const std::vector<SampleRecord>& records() const { return records_; }

 private:
  void begin(size_t i);
  void finish(size_t i);

  const VideoSampler& sampler_;
  const VideoSampler::Request& request_;
  int64_t pixel_frames_;
  std::filesystem::path folder_;
  bool save_latents_;
  Encoders encoders_;
  std::vector<SampleRecord> records_;
  std::vector<std::unique_ptr<data::VideoWriter>> writers_;
  std::vector<std::unique_ptr<LatentWriter>> latents_;
};

}  // namespace vmla::trainer
