#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/support/temporary_folder.h"
#include "tests/trainer/small_sampler.h"
#include "tests/trainer/small_stage.h"
#include "trainer/evaluation/stage_measures.h"
#include "trainer/evaluation/validation.h"

/// What is compared between runs must be measured on the same random numbers in each of them.
namespace vmla::trainer {
namespace {

TEST(MeasuredPrompts, EachHasNoiseOfItsOwnHoweverManyThereAre) {
  const TemporaryFolder folder;
  write_small_clips(folder / "clips.h5",
                    3,
                    {"a red circle moves left", "a blue square moves up", "no moving shape"});
  const data::LatentDataset held_out(folder / "clips.h5");
  const std::vector<VideoPrompt> many = measured_prompts(held_out, 7);
  ASSERT_EQ(many.size(), 7u);
  EXPECT_EQ(many[0].text, "a blue square moves up");
  EXPECT_EQ(many[1].text, "a red circle moves left");
  EXPECT_EQ(many[2].text, many[0].text);
  std::set<std::pair<uint64_t, uint32_t>> addresses;
  for (const VideoPrompt& prompt : many) addresses.insert({prompt.seed, prompt.place});
  EXPECT_EQ(addresses.size(), 7u);
  const std::vector<VideoPrompt> few = measured_prompts(held_out, 3);
  ASSERT_EQ(few.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(few[i].text, many[i].text);
    EXPECT_EQ(few[i].seed, many[i].seed);
    EXPECT_EQ(few[i].place, many[i].place);
  }
}

std::vector<at::Tensor> sampled(const std::vector<VideoPrompt>& prompts,
                                int64_t batch,
                                int64_t frames = 6) {
  SmallSampler small;
  small.request.prompts = prompts;
  small.request.latent_frames = frames;
  small.request.batch = batch;
  return small.sampler.sample_pixels(small.source(), small.request);
}

// Batches of other sizes differ by the order of fp32 sums.
constexpr double kRounding = 1e-4;

TEST(MeasuredPrompts, AVideosNoiseIsThatOfItsPlaceInAnyBatchAndLength) {
  const std::vector<VideoPrompt> prompts = {
      {.text = "a", .seed = 5, .place = 0},
      {.text = "a", .seed = 5, .place = 1},
      {.text = "a", .seed = 5, .place = 2},
  };
  const auto alone = sampled(prompts, 1);
  const auto together = sampled(prompts, 3);
  const auto later = sampled({prompts[2]}, 1);
  const auto longer = sampled(prompts, 2, 12);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(at::allclose(alone[i], together[i], kRounding, kRounding)) << i;
    EXPECT_TRUE(at::allclose(alone[i], longer[i].narrow(0, 0, 6), kRounding, kRounding)) << i;
  }
  EXPECT_TRUE(at::equal(alone[2], later[0]));
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < i; ++j) {
      EXPECT_GT((alone[i] - alone[j]).abs().mean().item<double>(), 0.1) << i << " " << j;
    }
  }
}

double validation_loss(SmallStage& stage, const TrainConfig& config, int64_t micro_batch) {
  return validate(config,
                  micro_batch,
                  *stage.objective,
                  stage.roles.networks(stage.config),
                  "generator",
                  *stage.data.held_out(),
                  stage.data.shared_inputs(),
                  distributed::Mesh())
      .loss;
}

TEST(Validation, NoiseAndTimesFollowFromTheirOwnSeed) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.data.validation_path = config.data.path;
  config.validation.every = 1;
  config.validation.clips = 6;
  SmallStage stage(config);
  const double loss = validation_loss(stage, config, 2);
  config.seed = 12;
  EXPECT_EQ(validation_loss(stage, config, 2), loss) << "the seed of training has no part in it";
  EXPECT_NEAR(validation_loss(stage, config, 3), loss, 1e-5 * loss) << "nor has the batch";
  config.validation.seed = 1;
  EXPECT_GT(std::abs(validation_loss(stage, config, 2) - loss), 1e-3 * loss);
}

}  // namespace
}  // namespace vmla::trainer
