#include "analysis/video/clip_measures.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/analysis/real_clips.h"

namespace vmla::analysis {
namespace {

TEST(Motion, SteadyFlickerAndStill) {
  // A ramp in time changes by the same amount everywhere: steady. Alternation is flicker.
  const at::Tensor ramp = at::arange(6).view({6, 1, 1, 1}).expand({6, 3, 8, 8}) * 0.1;
  const Motion steady = measure_motion(ramp, {3, 3});
  EXPECT_NEAR(steady.amount, 0.1, 1e-6);
  EXPECT_NEAR(steady.smoothness, 1.0, 1e-5);
  EXPECT_NEAR(steady.border_jump, 1.0, 1e-5);
  const Motion flicker = measure_motion((ramp * 10).remainder(2) * 0.2, {3, 3});
  EXPECT_NEAR(flicker.amount, 0.2, 1e-6);
  EXPECT_NEAR(flicker.smoothness, 0.0, 1e-5);
  const Motion still = measure_motion(at::zeros({4, 3, 8, 8}), {2, 2});
  EXPECT_EQ(still.amount, 0.0);
  EXPECT_EQ(still.smoothness, 1.0);
  EXPECT_EQ(still.border_jump, 0.0);
}

TEST(Motion, SeesAJumpBetweenChunks) {
  at::Tensor clip = at::arange(6).view({6, 1, 1, 1}).expand({6, 3, 8, 8}).to(at::kFloat) * 0.1;
  clip = clip.clone();
  clip.narrow(0, 3, 3) += 0.3;  // the second chunk starts 0.3 higher: a step of 0.4 instead of 0.1
  EXPECT_NEAR(measure_motion(clip, {3, 3}).border_jump, 4.0, 1e-4);
  EXPECT_EQ(measure_motion(clip, {6}).border_jump, 0.0);
  EXPECT_EQ(measure_motion(clip, {1, 1, 1, 1, 1, 1}).border_jump, 0.0);
}

TEST(ClipMeasures, MeasuresASetOfClips) {
  const RealClips& real = held_out_clips();
  std::vector<CaptionedClip> clips;
  for (size_t i = 0; i < 24; ++i) {
    clips.push_back({real.side16[static_cast<int64_t>(i)].narrow(0, 0, 9),
                     data::caption_of(real.specs[i].what)});
  }
  clips.push_back({real.side16[0].narrow(0, 0, 9), "a dog runs"});
  // The fourth chunk lies beyond the clips.
  const ClipMeasures found = measure_clips(clips, {3, 3, 3, 3});
  EXPECT_EQ(found.adherence.clips, 24);
  EXPECT_EQ(found.adherence.colour, 1.0);
  EXPECT_EQ(found.adherence.direction, 1.0);
  EXPECT_EQ(found.retention.clips, 24);
  EXPECT_EQ(found.retention.identification_by_chunk.size(), 2u);
  EXPECT_GT(found.retention.identification, 0.9);
  EXPECT_GT(found.motion.amount, 0.0);
  EXPECT_FALSE(found.per_clip.back().has_value());

  const auto figures = figures_of(found);
  EXPECT_EQ(figures.at("adherence").at("colour"), 1.0);
  EXPECT_EQ(figures.at("retention").at("clips"), 24.0);
  EXPECT_TRUE(figures.at("motion").contains("border_jump"));
}

TEST(ClipMeasures, LeavesOutWhatCannotBeMeasured) {
  const auto figures =
      figures_of(measure_clips({{at::zeros({2, 3, 16, 16}), "a dog runs"}}, {1, 1}));
  EXPECT_FALSE(figures.contains("adherence"));
  EXPECT_FALSE(figures.contains("retention"));
  EXPECT_TRUE(figures.contains("motion"));
  EXPECT_TRUE(figures_of(measure_clips({}, {3})).empty());
}

}  // namespace
}  // namespace vmla::analysis
