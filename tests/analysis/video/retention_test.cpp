#include "analysis/video/retention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/analysis/real_clips.h"

namespace vmla::analysis {
namespace {

const std::vector<int64_t> kChunks = {3, 3, 3, 3, 3};

struct Readings {
  std::vector<std::vector<ChunkTraits>> traits;
  std::vector<int> captions;
};

Readings read_all(const RealClips& clips,
                  const at::Tensor& pixels,
                  const std::vector<int64_t>& chunks) {
  Readings all;
  for (size_t i = 0; i < clips.specs.size(); ++i) {
    const data::Combination& what = clips.specs[i].what;
    all.traits.push_back(read_chunk_traits(pixels[static_cast<int64_t>(i)], what.colour, chunks));
    all.captions.push_back((what.colour * 3 + what.shape) * 4 + what.direction);
  }
  return all;
}

// Real clips keep everything, so this is how well the readers can tell 8 clips of one caption
// apart.
TEST(Retention, IsHighOnRealClips) {
  const RealClips& clips = held_out_clips();
  for (const at::Tensor& pixels : {clips.side16, clips.side32}) {
    const Readings all = read_all(clips, pixels, kChunks);
    const Retention found = measure_retention(all.traits, all.captions);
    EXPECT_EQ(found.clips, 96);
    EXPECT_TRUE(found.within_caption);
    EXPECT_GE(found.identification, 0.95);
    EXPECT_GE(found.size_identification, 0.9);
    // The coarsest of the three: shapes move by about a pixel a frame at 16 pixels.
    EXPECT_GE(found.speed_identification, 0.75);
    EXPECT_GE(found.texture_identification, 0.9);
    EXPECT_GE(found.size_correlation, 0.95);
    EXPECT_GE(found.speed_correlation, 0.8);
    EXPECT_GE(found.texture_correlation, 0.8);
    ASSERT_EQ(found.identification_by_chunk.size(), 4u);
    EXPECT_GE(found.identification_by_chunk[3], 0.9);
  }
}

TEST(Retention, WorksOnChunksOfOneFrame) {
  const RealClips& clips = held_out_clips();
  const Readings all = read_all(clips, clips.side16, std::vector<int64_t>(9, 1));
  EXPECT_GE(measure_retention(all.traits, all.captions).identification, 0.9);
}

// What a model without memory does: later chunks come from other clips of the same caption. 48
// clips; one clip's score has a standard deviation of at most 0.35, their mean 0.05, and four
// correlated chunks do not widen it: 3 sigma = 0.15.
TEST(Retention, IsAtChanceWithoutMemory) {
  const RealClips& clips = held_out_clips();
  const Readings all = read_all(clips, clips.side16, kChunks);
  Readings forgetful;
  // Held-out combinations come in turn: clip i + 48 has the caption of clip i.
  for (size_t i = 0; i < 48; ++i) {
    ASSERT_EQ(all.captions[i], all.captions[i + 48]);
    forgetful.traits.push_back(all.traits[i + 48]);
    forgetful.traits.back()[0] = all.traits[i][0];
    forgetful.captions.push_back(all.captions[i]);
  }
  const Retention found = measure_retention(forgetful.traits, forgetful.captions);
  EXPECT_NEAR(found.identification, 0.5, 0.15);
  EXPECT_NEAR(found.size_identification, 0.5, 0.15);
  EXPECT_NEAR(found.speed_identification, 0.5, 0.15);
  EXPECT_NEAR(found.texture_identification, 0.5, 0.15);
  // A correlation of 48 independent pairs, 12 means taken off: sigma = 1/sqrt(36) = 0.17.
  EXPECT_NEAR(found.size_correlation, 0.0, 0.5);
  EXPECT_NEAR(found.speed_correlation, 0.0, 0.5);
}

TEST(Retention, ScoresByHand) {
  const auto clip = [](double first, double later) {
    return std::vector<ChunkTraits>{{first, 0, {}}, {later, 0, {}}};
  };
  // Caption 1: perfect order. Caption 2: swapped. Caption 3 has one clip and takes no part.
  const Retention found = measure_retention(
      {clip(1, 1.1), clip(2, 2.1), clip(1, 2), clip(2, 1), clip(5, 5)}, {1, 1, 2, 2, 3});
  EXPECT_EQ(found.clips, 4);
  EXPECT_NEAR(found.size_identification, 0.5, 1e-12);
  EXPECT_NEAR(found.size_correlation, 0.0, 1e-12);
  EXPECT_NEAR(found.speed_identification, 0.5, 1e-12);  // all equal: ties count half
  const Retention ordered =
      measure_retention({clip(1, 1.1), clip(2, 2.1), clip(3, 2.8)}, {1, 2, 3});
  EXPECT_FALSE(ordered.within_caption);
  EXPECT_EQ(ordered.size_identification, 1.0);
  EXPECT_GT(ordered.size_correlation, 0.99);
}

TEST(Retention, NothingToCompareIsChance) {
  EXPECT_EQ(measure_retention({}, {}).identification, 0.5);
  EXPECT_EQ(measure_retention({{ChunkTraits{}}}, {1}).clips, 0);
}

}  // namespace
}  // namespace vmla::analysis
