#include "analysis/video/presence.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "analysis/video/caption_adherence.h"
#include "analysis/video/drift.h"
#include "tests/analysis/real_clips.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kSide = 16;

// Clips of real specs whose shapes have `size` of the side in place of their own.
std::vector<CaptionedClip> clips_of_size(double size, int64_t side) {
  std::vector<CaptionedClip> clips;
  for (size_t i = 0; i < 24; ++i) {
    data::ClipSpec spec = held_out_clips().specs[i];
    spec.size = size;
    clips.push_back({data::render_clips({spec}, 9, side)[0], data::caption_of(spec.what)});
  }
  return clips;
}

Adherence adherence_of(const std::vector<CaptionedClip>& clips) {
  std::vector<std::optional<ClipAdherence>> read;
  for (const CaptionedClip& clip : clips) read.push_back(check_caption(clip));
  return summarise(read);
}

std::vector<CaptionedClip> all_of(const at::Tensor& pixels_NF3HW) {
  std::vector<CaptionedClip> clips;
  for (int64_t i = 0; i < pixels_NF3HW.size(0); ++i)
    clips.push_back({pixels_NF3HW[i], data::caption_of(held_out_clips().specs[0].what)});
  return clips;
}

// In [-1, 1], of any spread: a hash of the index, so that runs agree.
at::Tensor noise(at::IntArrayRef sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return at::sin(at::arange(count).to(at::kDouble).square() * 1.7).to(at::kFloat).view(sizes);
}

// The calibration of docs/algorithms.md 14.2.
TEST(Presence, RealClipsThroughTheCodecShowTheirShape) {
  for (const RealClips* clips : {&training_clips(), &held_out_clips()}) {
    for (const at::Tensor& pixels : {clips->side16, clips->side32}) {
      for (const int64_t frames : {int64_t{9}, kRealFrames}) {
        double there = 0, whole = 0, area = 0;
        const int64_t count = pixels.size(0);
        for (int64_t i = 0; i < count; ++i) {
          const data::ClipSpec& spec = clips->specs[static_cast<size_t>(i)];
          const Presence found = read_presence(pixels[i].narrow(0, 0, frames), spec.what.colour);
          there += found.frames / static_cast<double>(count);
          whole += found.throughout / static_cast<double>(count);
          area += found.area / static_cast<double>(count);
        }
        EXPECT_GE(there, 0.99) << pixels.sizes() << " " << frames;
        EXPECT_GE(whole, 0.99) << pixels.sizes() << " " << frames;
        // Means of 96 areas that spread by 0.5 of their mean: 0.15 is three standard errors.
        EXPECT_NEAR(area, 1.0, 0.15) << pixels.sizes() << " " << frames;
      }
    }
  }
}

TEST(Presence, ABlankClipAndNoiseShowNothing) {
  const at::Tensor blank = at::full({12, 9, 3, kSide, kSide}, -0.85, at::kFloat);
  for (const double amplitude : {0.0, 0.02, 0.1, 0.3, 0.85}) {
    const Adherence found = adherence_of(all_of(blank + amplitude * noise(blank.sizes())));
    EXPECT_EQ(found.present, 0.0) << amplitude;
    EXPECT_EQ(found.colour_present, 0.0) << amplitude;
    EXPECT_EQ(found.shape_present, 0.0) << amplitude;
    EXPECT_EQ(found.direction_present, 0.0) << amplitude;
  }
  // Faint noise over a static border, as a weak model paints it.
  const at::Tensor border = held_out_clips().side16.narrow(1, 0, 9).amin(1, true);
  const at::Tensor still = border.expand({-1, 9, -1, -1, -1}) + 0.03 * noise({9, 3, kSide, kSide});
  EXPECT_EQ(adherence_of(all_of(still)).present, 0.0);
}

TEST(Presence, AShapeOfAFewPixelsIsNotTickedThoughItsColourIsRight) {
  // 2 x 2 pixels at 16, 4 x 4 at 32: half of the smallest side.
  for (const int64_t side : {kSide, 2 * kSide}) {
    const Adherence small = adherence_of(clips_of_size(2.0 / kSide, side));
    EXPECT_GE(small.colour, 0.9);  // what the page used to tick
    EXPECT_GE(small.direction, 0.9);
    EXPECT_EQ(small.present, 0.0) << side;
    EXPECT_EQ(small.colour_present, 0.0) << side;
    EXPECT_LT(small.area, 0.25) << side;
    const Adherence right = adherence_of(clips_of_size(data::kMinSize, side));
    EXPECT_DOUBLE_EQ(right.present, 1.0) << side;
    EXPECT_DOUBLE_EQ(right.colour_present, right.colour) << side;
  }
}

TEST(Presence, AShapeThatVanishesOnTheWayIsNotThereThroughout) {
  at::Tensor clip = held_out_clips().side16[0].narrow(0, 0, 12).clone();
  const int colour = held_out_clips().specs[0].what.colour;
  ASSERT_TRUE(read_presence(clip, colour).throughout);
  clip.narrow(0, 8, 4).copy_(clip.amin(0, true).expand({4, -1, -1, -1}));
  const Presence found = read_presence(clip, colour);
  EXPECT_FALSE(found.throughout);
  EXPECT_NEAR(found.frames, 8.0 / 12, 0.1);
}

TEST(Presence, SurvivesDimmingNoiseAndAWrongBorder) {
  const RealClips& clips = training_clips();
  at::Tensor pixels = (clips.side16.narrow(1, 0, 9) + 1) * 0.7 - 1;
  pixels = (pixels + 0.1 * noise(pixels.sizes())).clamp(-1, 1);
  pixels.select(3, 0).fill_(0.9);
  pixels.select(4, 15).fill_(0.5);
  EXPECT_GE(adherence_of(all_of(pixels)).present, 0.95);
}

TEST(Presence, DriftSaysItByWindow) {
  DriftLayout layout;
  layout.frames = 18;
  layout.window_frames = 9;
  layout.chunk_frames.assign(6, 3);
  std::vector<CaptionedClip> clips;
  std::vector<std::string> captions;
  for (size_t i = 0; i < 12; ++i) {
    const data::ClipSpec spec = data::draw_clip(5, i, /*held_out=*/true, 9);
    data::ClipSpec shrunk = spec;
    shrunk.size = 2.0 / kSide;
    captions.push_back(data::caption_of(spec.what));
    const at::Tensor whole = data::render_clips({spec}, 18, kSide)[0];
    const at::Tensor small = data::render_clips({shrunk}, 18, kSide)[0];
    clips.push_back({at::cat({whole.narrow(0, 0, 9), small.narrow(0, 9, 9)}), captions.back()});
  }
  const DriftMeasures found =
      measure_drift(clips, layout, real_drift_band(captions, kSide, 9, layout));
  EXPECT_NEAR(found.present[0], 1.0, 1e-9);
  EXPECT_EQ(found.present[1], 0.0);
  EXPECT_GE(found.colour[1], 0.9);
  EXPECT_EQ(found.colour_present[1], 0.0);
  EXPECT_NEAR(found.area_share[0], 1.0, 0.35);
  EXPECT_LT(found.area_share[1], 0.25);
}

TEST(Presence, AnswersOnBrokenClips) {
  at::Tensor broken = at::full({4, 3, 8, 8}, -1.0, at::kFloat);
  broken[1].fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_FALSE(read_presence(broken, 0).throughout);
  EXPECT_FALSE(read_presence(broken.narrow(0, 0, 2), 5).throughout);
}

}  // namespace
}  // namespace vmla::analysis
