#include "trainer/objectives/dmd_windows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/tensor_match.h"

namespace vmla::trainer {
namespace {

std::string written(const std::vector<ScoredWindow>& windows) {
  std::string text;
  for (const ScoredWindow& w : windows) {
    text += (text.empty() ? "" : " ") + std::string(w.has_front ? "+" : "") + "[" +
            std::to_string(w.begin) + "," + std::to_string(w.end) + ")" +
            std::to_string(w.gradient_begin);
  }
  return text;
}

/// "+": a front frame stands before; after the bracket: where the trained frames begin.
TEST(ScoredWindows, OfAWholeClipAreTheClip) {
  for (const bool all : {false, true}) {
    EXPECT_EQ(written(scored_windows(21, 21, 3, all)), "[0,21)0");
    EXPECT_EQ(written(scored_windows(18, 21, 3, all)), "[0,18)0");
  }
}

TEST(ScoredWindows, TheLastIsAFrontFrameAndTheLastFrames) {
  // 21 frames of docs/algorithms.md 10.7: the front and the last 20; the first chunk of the 21 is
  // not trained.
  EXPECT_EQ(written(scored_windows(24, 21, 3, false)), "+[4,24)6");
  EXPECT_EQ(written(scored_windows(210, 21, 3, false)), "+[190,210)192");
  EXPECT_EQ(written(scored_windows(42, 21, 1, false)),
            "+[22,42)22");  // frame-wise: the front alone
}

TEST(ScoredWindows, AllFollowOneAnother) {
  EXPECT_EQ(written(scored_windows(27, 9, 3, true)), "[0,9)0 +[7,15)9 +[13,21)15 +[19,27)21");
  EXPECT_EQ(written(scored_windows(12, 9, 3, true)), "[0,9)0 +[4,12)9");
  EXPECT_EQ(written(scored_windows(17, 9, 1, true)), "[0,9)0 +[9,17)9");
}

/// Rollouts of one to ten clips: with all windows every frame is trained once, with the last one a
/// frame at most once; windows are as long as a clip, so that the scores see what they know.
TEST(ScoredWindows, TrainEveryFrameOnce) {
  for (const auto& [clip, chunk, untrained] :
       {std::tuple{9, 3, 3}, {21, 3, 3}, {8, 1, 1}, {10, 3, 1} /* a first frame of its own */}) {
    for (int64_t frames = clip; frames <= 10 * clip; frames += chunk) {
      for (const bool all : {false, true}) {
        std::vector<int64_t> trained(static_cast<size_t>(frames), 0);
        for (const ScoredWindow& w : scored_windows(frames, clip, untrained, all)) {
          EXPECT_EQ(w.frames(), clip);
          EXPECT_EQ(w.has_front, w.begin > 0);
          EXPECT_GE(w.gradient_begin, w.has_front ? w.begin + untrained - 1 : w.begin);
          EXPECT_LT(w.gradient_begin, w.end);
          EXPECT_LE(w.end, frames);
          for (int64_t f = w.gradient_begin; f < w.end; ++f) ++trained[static_cast<size_t>(f)];
        }
        const int64_t untouched = all || frames == clip ? 0 : frames - (clip - untrained);
        for (int64_t f = 0; f < frames; ++f)
          EXPECT_EQ(trained[static_cast<size_t>(f)], f < untouched ? 0 : 1)
              << "frame " << f << " of " << frames << (all ? ", all" : ", last");
      }
    }
  }
}

/// Latent frame f becomes pixel frames 10 f and 10 f + 1 after the first, which becomes one.
class CountingDecoder final : public model::VideoDecoder {
 public:
  at::Tensor next(const at::Tensor& latents) override {
    EXPECT_EQ(latents.scalar_type(), at::kFloat);
    std::vector<at::Tensor> pixels;
    for (const at::Tensor& latent : latents.unbind(0)) {
      if (seen_++ > 0) pixels.push_back(10 * latent);
      pixels.push_back(10 * latent + 1);
    }
    return at::stack(pixels).expand({-1, 3, -1, -1});
  }

 private:
  int64_t seen_ = 0;
};

/// A single pixel frame p is encoded as 100 + p.
class CountingCodec final : public model::VideoCodec {
 public:
  std::string name() const override { return "counting"; }
  std::string hash() const override { return ""; }
  model::CodecGeometry geometry() const override {
    return {.latent_channels = 1, .spatial_factor = 1, .temporal_factor = 2};
  }
  std::unique_ptr<model::VideoDecoder> start_decoding() const override {
    return std::make_unique<CountingDecoder>();
  }
  at::Tensor encode(const at::Tensor& pixels) const override {
    EXPECT_EQ(pixels.size(0), 1) << "the front frame is a video of one frame";
    return pixels.narrow(1, 0, 1) + 100;
  }
  at::Tensor decode(const at::Tensor& latents) const override {
    return CountingDecoder().next(latents);
  }
};

TEST(WindowLatents, BeginWithTheReencodedLastFrameBeforeTheWindow) {
  const at::Tensor rollout =
      at::arange(2 * 12, at::kDouble).view({2, 12, 1, 1, 1}).expand({2, 12, 1, 2, 2});
  const CountingCodec codec;
  const at::Tensor x = window_latents({.begin = 4, .end = 12, .has_front = true}, rollout, &codec);
  EXPECT_EQ(x.sizes(), at::IntArrayRef({2, 9, 1, 2, 2}));
  EXPECT_EQ(x.scalar_type(), at::kDouble);
  EXPECT_TRUE(at::equal(x.narrow(1, 1, 8), rollout.narrow(1, 4, 8)));
  // The frame before the window is 3 (15 in the second sample); its last pixel frame is 10 f + 1.
  EXPECT_DOUBLE_EQ(x[0][0][0][0][0].item<double>(), 131);
  EXPECT_DOUBLE_EQ(x[1][0][0][0][0].item<double>(), 251);
}

TEST(WindowLatents, OfTheFirstWindowNeedNoCodec) {
  const at::Tensor rollout = at::arange(12, at::kFloat).view({1, 12, 1, 1, 1});
  const at::Tensor x = window_latents({.begin = 0, .end = 9}, rollout, nullptr);
  EXPECT_TRUE(at::equal(x, rollout.narrow(1, 0, 9)));
}

}  // namespace
}  // namespace vmla::trainer
