#include "trainer/evaluation/video_sampler.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>

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

/// Videos of three chunks of two passes each.
struct ThreeChunks {
  model::ModelConfig config = small_model("mla");
  model::FrozenWeights weights{config, model::random_weights(config, 3), "random"};
  VideoSampler sampler{{.codec = "wan-vae",
                        .text_encoder = "hashing:5x3",
                        .fps = 16,
                        .pixel_height = 4,
                        .pixel_width = 4,
                        .clip = {6, 3, 4, 4}},
                       {},
                       /*bidirectional=*/false,
                       summing_codec()};
  VideoSampler::Request request;

  explicit ThreeChunks(bool decode_beside) {
    request.prompts = {{"a circle", 1}, {"a square", 2}};
    request.latent_frames = 6;
    request.sampler.kind = model::SamplerKind::kFewStep;
    request.sampler.denoising_step_list = {1000, 500};
    request.sampler.guidance_scale = 1;
    request.decode_beside = decode_beside;
  }
};

TEST(VideoSampler, DecodesBesideTheNextChunkWhatItDecodesInTurn) {
  ThreeChunks in_turn(false), beside(true);
  const auto expected =
      in_turn.sampler.sample_pixels({in_turn.config, in_turn.weights}, in_turn.request);
  std::mutex mutex;
  std::condition_variable changed;
  int64_t passes = 0;
  beside.request.before_pass = [&] {
    const std::lock_guard lock(mutex);
    ++passes;
    changed.notify_all();
  };
  int64_t handed_out = 0;
  const auto found = beside.sampler.sample_pixels(
      {beside.config, beside.weights}, beside.request, [&](const SampledChunk& chunk) {
        ++handed_out;
        if (chunk.first_frame == 4) return;  // the last of its video
        // Not handed out before the next chunk's first pass has begun: in turn, it never would.
        std::unique_lock lock(mutex);
        const bool has_begun = changed.wait_for(
            lock, std::chrono::seconds(30), [&] { return passes > 2 * handed_out; });
        EXPECT_TRUE(has_begun) << "chunk " << handed_out;
      });
  EXPECT_EQ(handed_out, 6);
  ASSERT_EQ(found.size(), 2u);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(at::equal(found[i], expected[i])) << i;
}

TEST(VideoSampler, EndsWithWhatIsThrownWhereAChunkIsHandedOut) {
  for (const bool decode_beside : {false, true}) {
    ThreeChunks small(decode_beside);
    int64_t passes = 0, handed_out = 0;
    small.request.before_pass = [&] { ++passes; };
    const auto sample = [&] {
      small.sampler.sample({small.config, small.weights}, small.request, [&](const SampledChunk&) {
        ++handed_out;
        throw std::runtime_error("no room");
      });
    };
    EXPECT_THROW(sample(), std::runtime_error);
    EXPECT_EQ(handed_out, 1);
    EXPECT_GE(passes, 2);
    EXPECT_LE(passes, decode_beside ? 4 : 2) << "at the next chunk's end at the latest";
  }
}

}  // namespace
}  // namespace vmla::trainer
