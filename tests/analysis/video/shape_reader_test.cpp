#include "analysis/video/shape_reader.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "analysis/video/caption_adherence.h"
#include "tests/analysis/real_clips.h"

namespace vmla::analysis {
namespace {

Adherence adherence_of(const RealClips& clips, const at::Tensor& pixels, int64_t frames) {
  std::vector<std::optional<ClipAdherence>> read;
  for (size_t i = 0; i < clips.specs.size(); ++i) {
    read.push_back(check_caption({pixels[static_cast<int64_t>(i)].narrow(0, 0, frames),
                                  data::caption_of(clips.specs[i].what)}));
  }
  return summarise(read);
}

// The calibration of docs/algorithms.md 14.2. Lengths: a training clip, and one that wraps around.
TEST(ShapeReader, ReadsRealClipsThroughTheCodec) {
  for (const RealClips* clips : {&training_clips(), &held_out_clips()}) {
    for (const at::Tensor& pixels : {clips->side16, clips->side32}) {
      for (const int64_t frames : {int64_t{9}, kRealFrames}) {
        const Adherence found = adherence_of(*clips, pixels, frames);
        EXPECT_GE(found.colour, 0.99) << pixels.sizes() << " " << frames;
        EXPECT_GE(found.direction, 0.99) << pixels.sizes() << " " << frames;
        EXPECT_GE(found.shape, 0.99) << pixels.sizes() << " " << frames;
      }
    }
  }
}

// Every clip against every other clip's caption. The 60 training combinations are balanced to
// within 2 %, so the shares are 1/6, 1/3, 1/4 to about 0.01 (the clip's own caption is left out,
// which takes off 1/120 of the matches).
TEST(ShapeReader, IsAtChanceOnShuffledCaptions) {
  const RealClips& clips = training_clips();
  std::vector<std::optional<ClipAdherence>> pairs;
  for (size_t i = 0; i < clips.specs.size(); ++i) {
    const data::Combination shown = read_shape(clips.side16[static_cast<int64_t>(i)]);
    for (size_t j = 0; j < clips.specs.size(); ++j) {
      if (j != i) pairs.push_back(ClipAdherence{clips.specs[j].what, shown});
    }
  }
  const Adherence chance = summarise(pairs);
  EXPECT_NEAR(chance.colour, 1.0 / 6, 0.02);
  EXPECT_NEAR(chance.shape, 1.0 / 3, 0.02);
  EXPECT_NEAR(chance.direction, 1.0 / 4, 0.02);
}

// A weak model paints a shape that is dim, noisy and over a border of wrong colours; the caption is
// still readable.
TEST(ShapeReader, SurvivesNoiseDimmingAndAWrongBorder) {
  const RealClips& clips = training_clips();
  at::Tensor pixels = (clips.side16 + 1) * 0.7 - 1;
  const at::Tensor noise =
      at::sin(at::arange(pixels.numel()).to(at::kDouble).square()).to(at::kFloat);
  pixels = (pixels + 0.15 * noise.view(pixels.sizes())).clamp(-1, 1);
  pixels.select(3, 0).fill_(0.9);   // the top border is white
  pixels.select(4, 15).fill_(0.5);  // the right one grey
  const Adherence found = adherence_of(clips, pixels, 9);
  EXPECT_GE(found.colour, 0.95);
  EXPECT_GE(found.direction, 0.95);
}

TEST(ShapeReader, AnswersOnEmptyAndBrokenClips) {
  const at::Tensor dark = at::full({9, 3, 16, 16}, -1.0, at::kFloat);
  read_shape(dark);
  at::Tensor broken = dark.clone();
  broken[3].fill_(std::numeric_limits<float>::quiet_NaN());
  const data::Combination what = read_shape(broken);
  EXPECT_TRUE(what.colour >= 0 && what.colour < 6);
  EXPECT_EQ(read_chunk_traits(broken, 0, {3, 3, 3}).size(), 3u);
  EXPECT_THROW(read_shape(at::zeros({9, 3, 16, 12})), c10::Error);
  EXPECT_THROW(read_chunk_traits(dark, 0, {3, 3, 3, 3}), c10::Error);
}

TEST(ShapeReader, TraitsFollowTheClip) {
  const RealClips& clips = held_out_clips();
  for (size_t i = 0; i < 24; ++i) {
    const data::ClipSpec& spec = clips.specs[i];
    const auto traits =
        read_chunk_traits(clips.side32[static_cast<int64_t>(i)], spec.what.colour, {3, 3, 3, 3, 3});
    // The chunk in which the shape wraps around has two pixels of border in its way: 15 % of size,
    // 20 % of speed.
    for (const ChunkTraits& chunk : traits) {
      EXPECT_NEAR(chunk.size, spec.size, 0.15 * spec.size) << i;
      EXPECT_NEAR(chunk.speed, spec.speed, 0.2 * spec.speed) << i;
    }
  }
}

TEST(CaptionAdherence, LeavesOtherCaptionsOut) {
  const RealClips& clips = held_out_clips();
  EXPECT_FALSE(check_caption({clips.side16[0], "a dog runs"}).has_value());
  const auto read = check_caption({clips.side16[0], data::caption_of(clips.specs[0].what)});
  const Adherence result = summarise({read, std::nullopt});
  EXPECT_EQ(result.clips, 1);
  EXPECT_EQ(result.colour, 1.0);
  EXPECT_EQ(summarise({}).colour, 0.0);
}

}  // namespace
}  // namespace vmla::analysis
