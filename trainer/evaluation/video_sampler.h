#pragma once

#include <c10/core/Stream.h>

#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/network/wan_dit.h"
#include "model/sampling/flow_solver.h"
#include "model/sampling/prompt_switch.h"
#include "model/sampling/rollout.h"
#include "trainer/inputs/media_info.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vmla::trainer {

/// The prompt that a video follows from a latent frame on, which must be the first of a chunk.
struct LaterPrompt {
  int64_t first_frame;
  std::string text;
};

struct VideoPrompt {
  std::string text;
  /// Of its noise, which depends on the seed, the place and the latent frame alone: not on the
  /// prompt, nor on the video's length.
  uint64_t seed = 0;
  /// Ascending; only where one video is sampled at a time.
  std::vector<LaterPrompt> later = {};
  /// Its place in a list of prompts with one seed, each of which is to have noise of its own.
  uint32_t place = 0;
  /// Of its file, without extension; empty: its number.
  std::string name = {};
  /// What the file is named after, where the model is given another text.
  std::string original = {};
};

/// One prompt's share of a sampled chunk, on the CPU in fp32.
struct SampledChunk {
  /// Index into the prompts.
  size_t prompt;
  /// The chunk's first latent frame.
  int64_t first_frame;
  at::Tensor latents_FCHW;
  /// About [-1, 1].
  at::Tensor pixels_F3HW;
  /// Of the whole batch's denoising passes.
  double seconds;
  /// Of the whole batch's context passes and prompt switches since the chunk before.
  double cache_seconds;
  /// From the batch's prompts to these pixels.
  double since_start;
  /// This prompt's share of the cache that the chunk was denoised against.
  int64_t cache_bytes;
  /// Prompts of the batch.
  int64_t batch_size;
};

/// Samples videos from a network: texts in, pixels out, chunk by chunk (docs/algorithms.md 8.5); a
/// bidirectional model makes all frames at once, as one chunk.
class VideoSampler {
 public:
  /// `bidirectional`: the network was trained on whole clips, not on chunks
  /// (ObjectiveTraits::causal). `decoder`: of the latents of media.codec; may be null where nothing
  /// is sampled. UserError where the codec or the text encoder is not known.
  VideoSampler(const MediaInfo& media,
               const model::TextEncoderOptions& text,
               bool bidirectional,
               std::shared_ptr<const model::VideoCodec> decoder);

  struct Request {
    std::vector<VideoPrompt> prompts;
    int64_t latent_frames = 0;
    model::SamplerSettings sampler;
    std::string negative_prompt;
    /// Prompts that are sampled together; 1 makes each independent of the others to the bit.
    int64_t batch = 1;
    /// Zeroes the cache before every chunk: what is then left is what the model knows without it.
    bool erase_cache = false;
    /// The network's.
    at::Device device = at::kCPU;
    /// Noise in place of draws, for each of the P prompts; undefined: drawn.
    at::Tensor noise_PFCHW;
    /// Likewise of the few-step sampler's K re-noisings.
    at::Tensor renoise_KPFCHW = {};
    model::PromptSwitch prompt_switch = model::PromptSwitch::kFlush;
    /// A chunk is decoded and handed out while the next one is denoised, by another thread and on a
    /// GPU in another stream.
    bool decode_beside = false;
    /// RolloutRequest::before_pass.
    std::function<void()> before_pass = {};
    /// Of sample_to_folder: what an earlier call finished is kept and not sampled again.
    bool keeps_finished = false;
    /// Of sample_to_folder: what else decides what a video looks like (weights, sampler, window, as
    /// name and value), for its entry in samples.json. A folder that was made by others is refused
    /// where it keeps what is finished.
    std::vector<std::pair<std::string, std::string>> made_by = {};
  };

  /// A network that is sampled from in several calls: its weights are gathered once, and what the
  /// videos have in common stays (model::CausalSampler).
  struct Source {
    model::Network network;
    model::HeldWeights held;
    std::unique_ptr<model::CausalSampler> causal;  // null: all frames at once
  };
  /// For requests with these settings. The weights must stay as they are.
  Source open(const model::Network& network, const model::SamplerSettings& settings) const;

  /// Hands out each chunk of each prompt as soon as it is decoded, and keeps none of them
  /// (Request::decode_beside: from another thread, one chunk at a time): of a video that came
  /// before stays what the decoder needs, the same however long it is. Chunks of one prompt come in
  /// order. Collective where weights or tokens are spread over ranks.
  void sample(const Source& source,
              const Request& request,
              const std::function<void(const SampledChunk&)>& emit) const;

  /// Whole videos in pixels, in prompt order: [F, 3, H, W] each. `seen`, if any, is called with
  /// each chunk.
  std::vector<at::Tensor> sample_pixels(
      const Source& source,
      const Request& request,
      const std::function<void(const SampledChunk&)>& seen = nullptr) const;

  /// The least number of latent frames that decode to `pixel_frames` video frames or more, in whole
  /// chunks of `config`.
  int64_t latent_frames_for(const model::ModelConfig& config, int64_t pixel_frames) const;
  const MediaInfo& media() const { return media_; }
  const model::CodecGeometry& geometry() const { return geometry_; }

 private:
  /// What the prompts [begin, end), one batch, ask of the model. Refers to `request`.
  model::RolloutRequest rollout_of(const Request& request, size_t begin, size_t end) const;
  /// Samples the prompts [begin, end), one batch, here.
  void sample_batch(const Source& source,
                    const Request& request,
                    size_t begin,
                    size_t end,
                    std::optional<c10::Stream> decoding_stream,
                    const std::function<void(const SampledChunk&)>& emit) const;

  MediaInfo media_;
  bool bidirectional_;
  model::CodecGeometry geometry_;
  std::shared_ptr<const model::VideoCodec> decoder_;
  std::unique_ptr<model::TextEncoder> text_encoder_;
};

}  // namespace vmla::trainer
