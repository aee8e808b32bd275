#pragma once

#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/network/wan_dit.h"
#include "model/sampling/flow_solver.h"
#include "model/sampling/prompt_switch.h"
#include "trainer/inputs/media_info.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace vmla::trainer {

/// What a video follows from a latent frame on; that frame begins a chunk.
struct LaterPrompt {
  int64_t first_frame;
  std::string text;
};

struct VideoPrompt {
  std::string text;
  uint64_t seed = 0;                    // of its noise, together with the frame: nothing else
  std::vector<LaterPrompt> later = {};  // ascending; only where one video is sampled at a time
};

/// One prompt's share of a sampled chunk.
struct SampledChunk {
  size_t prompt;        // index into the prompts
  int64_t first_frame;  // latent frame
  at::Tensor latents_FCHW;
  at::Tensor pixels_F3HW;  // fp32, about [-1, 1]
  double seconds;          // of the whole batch's denoising passes
  double cache_seconds;    // of its cache fills and prompt switches since the chunk before
  double since_start;      // wall clock from the batch's prompts to these pixels
  int64_t cache_bytes;     // a prompt's share of the cache this chunk was denoised against
};

/// Samples videos from a network: text in, pixels out, chunk by chunk (a bidirectional model: the
/// whole clip at once).
class VideoSampler {
 public:
  /// `bidirectional`: the network was trained without chunks (objective flow_matching).
  VideoSampler(const MediaInfo& media, bool bidirectional);

  struct Request {
    std::vector<VideoPrompt> prompts;
    int64_t latent_frames = 0;
    model::SamplerSettings sampler;
    std::string negative_prompt;
    int64_t batch = 1;         // prompts at once; 1 makes each independent of the others to the bit
    bool erase_cache = false;  // measures what the cache is worth
    at::Device device = at::kCPU;    // the network's
    at::Tensor noise_PFCHW;          // given instead of drawn, one per prompt; may be undefined
    at::Tensor renoise_KPFCHW = {};  // likewise, of the few-step sampler's k-th re-noising
    model::PromptSwitch prompt_switch = model::PromptSwitch::kFlush;
  };
  void sample(const model::Network& network,
              const Request& request,
              const std::function<void(const SampledChunk&)>& emit) const;

  /// Whole videos in pixels, in prompt order: [F, 3, H, W] each.
  std::vector<at::Tensor> sample_pixels(const model::Network& network,
                                        const Request& request) const;

  /// Latent frames for at least `pixel_frames`, in whole chunks of `config`.
  int64_t latent_frames_for(const model::ModelConfig& config, int64_t pixel_frames) const;
  const MediaInfo& media() const { return media_; }
  const model::VideoCodec& codec() const { return *codec_; }

 private:
  MediaInfo media_;
  bool bidirectional_;
  std::unique_ptr<model::VideoCodec> codec_;
  std::unique_ptr<model::TextEncoder> text_encoder_;
};

/// What samples.json says of one video.
struct SampleRecord {
  std::string file, prompt;
  uint64_t seed = 0;
  int64_t frames = 0;
  double fps = 0;
  std::vector<double> chunk_seconds;  // denoising passes of each chunk
  double cache_seconds = 0;           // cache fills and prompt switches, all together
  double first_chunk_seconds = 0;     // from the prompt to the first chunk's pixels
  double seconds = 0;                 // from the prompt to the last chunk's pixels
  int64_t cache_bytes = 0;            // the most that was held
  struct Part {
    std::string prompt;
    int64_t first_frame;  // of the video
  };
  std::vector<Part> later_prompts;
};

/// Samples into `folder`: 000.mp4, 001.mp4, ... in prompt order, trimmed to `pixel_frames`,
/// streamed to the file as chunks come (.y4m without OpenCV), and samples.json; with `save_latents`
/// also NNN.safetensors (`latents` [F, C, H, W], streamed likewise). Nothing but a number a chunk,
/// for samples.json, is kept of what has been written.
std::vector<SampleRecord> sample_to_folder(const VideoSampler& sampler,
                                           const model::Network& network,
                                           const VideoSampler::Request& request,
                                           int64_t pixel_frames,
                                           const std::filesystem::path& folder,
                                           bool save_latents);

}  // namespace vmla::trainer
