#pragma once

#include <memory>
#include <string>
#include <utility>

#include "model/weights/local_weights.h"
#include "tests/trainer/small_networks.h"
#include "trainer/evaluation/video_sampler.h"

namespace vmla::trainer {

/// A sampler of clips of 6 x 3 x 4 x 4 latents with random weights, and a request without prompts
/// for videos of three chunks in two passes each.
struct SmallSampler {
  model::ModelConfig config = small_model("mla");
  model::FrozenWeights weights{config, model::random_weights(config, 3), "random"};
  VideoSampler sampler;
  VideoSampler::Request request;

  explicit SmallSampler(const std::string& codec = "space_to_depth:1",
                        std::shared_ptr<const model::VideoCodec> decoder = nullptr)
      : sampler({.codec = codec,
                 .text_encoder = "hashing:5x3",
                 .fps = 8,
                 .pixel_height = 4,
                 .pixel_width = 4,
                 .clip = {6, 3, 4, 4}},
                {},
                /*bidirectional=*/false,
                decoder ? std::move(decoder) : model::make_video_codec(codec)) {
    request.latent_frames = 6;
    request.sampler.kind = model::SamplerKind::kFewStep;
    request.sampler.denoising_step_list = {1000, 500};
    request.sampler.guidance_scale = 1;
  }
  model::Network network() { return {config, weights}; }
  VideoSampler::Source source() { return sampler.open(network(), request.sampler); }
};

}  // namespace vmla::trainer
