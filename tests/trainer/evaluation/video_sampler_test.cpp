#include "trainer/evaluation/video_sampler.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/codec/tiled_frames.h"
#include "model/weights/local_weights.h"
#include "tests/trainer/small_networks.h"

namespace vmla::trainer {
namespace {

/// Three channels that are colours: a frame is the sum of all latent frames so far, four times but
/// for the first, so that a decoder that forgets, or mixes videos, is found out.
std::shared_ptr<const model::VideoCodec> summing_codec() {
  model::TiledFrames frames;
  frames.geometry = {.latent_channels = 3, .spatial_factor = 1, .temporal_factor = 4};
  frames.new_decoder = [] {
    const auto sum = std::make_shared<at::Tensor>();
    return [sum](const at::Tensor& latent, const std::function<void(const at::Tensor&)>& emit) {
      const bool is_first = !sum->defined();
      *sum = is_first ? latent.clone() : *sum + latent;
      for (int64_t i = 0; i < (is_first ? 1 : 4); ++i) emit(*sum + static_cast<double>(i));
    };
  };
  return std::make_shared<model::FrameCodec>("summing", "", frames);
}

TEST(VideoSampler, DecodesChunkByChunkWhatIsDecodedAtOnce) {
  model::ModelConfig config = small_model("mla");
  model::FrozenWeights weights(config, model::random_weights(config, 3), "random");
  const MediaInfo media{.codec = "wan-vae",
                        .text_encoder = "hashing:5x3",
                        .fps = 16,
                        .pixel_height = 4,
                        .pixel_width = 4,
                        .clip = {6, 3, 4, 4}};
  const auto codec = summing_codec();
  const VideoSampler sampler(media, {}, /*bidirectional=*/false, codec);
  EXPECT_EQ(sampler.latent_frames_for(config, 20),
            6);  // 1 + 4 · 5 are the least 20 in whole chunks
  VideoSampler::Request request;
  request.prompts = {{"a circle", 1}, {"a square", 2}, {"a ring", 3}};
  request.latent_frames = 6;
  request.sampler.kind = model::SamplerKind::kFewStep;
  request.sampler.denoising_step_list = {1000, 500};
  request.sampler.guidance_scale = 1;
  request.batch = 2;
  std::vector<std::vector<at::Tensor>> latents(3);
  const std::vector<at::Tensor> videos =
      sampler.sample_pixels({config, weights}, request, [&](const SampledChunk& chunk) {
        latents[chunk.prompt].push_back(chunk.latents_FCHW);
        EXPECT_EQ(chunk.pixels_F3HW.size(0), chunk.first_frame == 0 ? 5 : 8);
      });
  ASSERT_EQ(videos.size(), 3);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(latents[i].size(), 3);
    EXPECT_TRUE(at::equal(videos[i], codec->decode(at::cat(latents[i])))) << "video " << i;
  }
}

}  // namespace
}  // namespace vmla::trainer
