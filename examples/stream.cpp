// Streams a video from an export of `vmla export` as raw RGB frames, chunk by chunk in constant
// memory:
//   stream EXPORT TEXT_ENCODER CODEC HEIGHT WIDTH LATENT_FRAMES PROMPT | ffplay -f rawvideo
//   -pixel_format rgb24 ...
#include <ATen/ATen.h>

#include <cstdio>
#include <exception>
#include <string>

#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/formats/load_weights.h"
#include "model/sampling/rollout.h"
#include "model/weights/local_weights.h"

using namespace vmla::model;

int main(int argc, char** argv) try {
  if (argc != 8) {
    std::fprintf(stderr, "stream EXPORT TEXT_ENCODER CODEC HEIGHT WIDTH LATENT_FRAMES PROMPT\n");
    return 2;
  }
  const LoadedWeights loaded = read_weights(argv[1]);
  FrozenWeights weights(
      loaded.config, loaded.tensors, loaded.source, at::kCPU, at::kFloat, MatrixOrder::kForPasses);
  const auto text = make_text_encoder(argv[2]);
  const auto codec = make_video_codec(argv[3]);

  RolloutRequest request;
  request.text_BTE = text->encode(argv[7]).unsqueeze(0);
  request.num_frames = std::stoll(argv[6]);
  request.latent_height = std::stoll(argv[4]) / codec->spatial_factor();
  request.latent_width = std::stoll(argv[5]) / codec->spatial_factor();
  const auto normal = [&] {
    return at::randn({1, loaded.config.in_dim, request.latent_height, request.latent_width});
  };
  request.frame_noise = [&](int64_t) { return normal(); };
  request.frame_renoise = [&](int64_t, int64_t) { return normal(); };

  SamplerSettings sampler;
  sampler.kind = SamplerKind::kFewStep;
  sampler.guidance_scale = 1;
  const auto decoder = codec->start_decoding();
  sample_causal({loaded.config, weights}, request, sampler, [&](const RolloutChunk& chunk) {
    const at::Tensor pixels = decoder->next(chunk.latents_BFCHW[0]);  // [F, 3, H, W] in [-1, 1]
    const at::Tensor rgb = ((pixels + 1) * 127.5).round().clamp(0, 255).to(at::kByte);
    const at::Tensor frames = rgb.permute({0, 2, 3, 1}).contiguous();
    std::fwrite(frames.const_data_ptr(), 1, frames.nbytes(), stdout);
    std::fflush(stdout);
  });
  return 0;
} catch (const std::exception& problem) {
  std::fprintf(stderr, "%s\n", problem.what());
  return 2;
}
