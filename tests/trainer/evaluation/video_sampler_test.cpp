#include "trainer/evaluation/video_sampler.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>

#include "model/codec/tiled_frames.h"
#include "tests/trainer/small_sampler.h"

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
  const auto codec = summing_codec();
  SmallSampler small("wan-vae", codec);
  EXPECT_EQ(small.sampler.latent_frames_for(small.config, 20),
            6);  // 1 + 4 · 5 are the least 20 in whole chunks
  small.request.prompts = {{"a circle", 1}, {"a square", 2}, {"a ring", 3}};
  small.request.batch = 2;
  std::vector<std::vector<at::Tensor>> latents(3);
  const std::vector<at::Tensor> videos =
      small.sampler.sample_pixels(small.source(), small.request, [&](const SampledChunk& chunk) {
        latents[chunk.prompt].push_back(chunk.latents_FCHW);
        EXPECT_EQ(chunk.pixels_F3HW.size(0), chunk.first_frame == 0 ? 5 : 8);
      });
  ASSERT_EQ(videos.size(), 3);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(latents[i].size(), 3);
    EXPECT_TRUE(at::equal(videos[i], codec->decode(at::cat(latents[i])))) << "video " << i;
  }
}

/// Two videos.
struct ThreeChunks : SmallSampler {
  explicit ThreeChunks(bool decode_beside) : SmallSampler("wan-vae", summing_codec()) {
    request.prompts = {{"a circle", 1}, {"a square", 2}};
    request.decode_beside = decode_beside;
  }
};

TEST(VideoSampler, DecodesBesideTheNextChunkWhatItDecodesInTurn) {
  ThreeChunks in_turn(false), beside(true);
  const auto expected = in_turn.sampler.sample_pixels(in_turn.source(), in_turn.request);
  std::mutex mutex;
  std::condition_variable changed;
  int64_t passes = 0;
  beside.request.before_pass = [&] {
    const std::lock_guard lock(mutex);
    ++passes;
    changed.notify_all();
  };
  int64_t handed_out = 0;
  const auto found =
      beside.sampler.sample_pixels(beside.source(), beside.request, [&](const SampledChunk& chunk) {
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
      small.sampler.sample(small.source(), small.request, [&](const SampledChunk&) {
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
