#include "trainer/inputs/stage_data.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/trainer/small_stage.h"
#include "trainer/inputs/sizes_only_batch.h"

namespace vmla::trainer {
namespace {

using testing::HasSubstr;

/// The clip that each sample of a batch is, by its value (small_stage.h).
std::vector<int64_t> clips_of(const model::TensorMap& batch) {
  std::vector<int64_t> clips;
  const at::Tensor& latents = batch.at("clean_latents");
  for (int64_t b = 0; b < latents.size(0); ++b)
    clips.push_back(std::lround(8 * latents[b].mean().item<double>()));
  return clips;
}

std::vector<int64_t> read(StageData& data, int64_t batches, int64_t micro_batch) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < batches; ++i) {
    const auto clips = clips_of(data.next(micro_batch, i, 0));
    all.insert(all.end(), clips.begin(), clips.end());
  }
  return all;
}

TEST(StageData, OrderIsAFunctionOfThePosition) {
  const TemporaryFolder folder;
  const TrainConfig config = small_stage(folder.path(), "flow_matching");
  StageData data(config, std::nullopt);
  data.start_at(0, 2, 0, 1);
  const std::vector<int64_t> all = read(data, 12, 2);
  EXPECT_EQ(std::set<int64_t>(all.begin(), all.begin() + 12).size(), 12u);  // an epoch
  data.start_at(8, 2, 0, 1);
  EXPECT_EQ(read(data, 8, 2), std::vector<int64_t>(all.begin() + 8, all.end()));
}

TEST(StageData, ShardsShareEachGlobalBatchInOrder) {
  const TemporaryFolder folder;
  const TrainConfig config = small_stage(folder.path(), "flow_matching");
  StageData whole(config, std::nullopt), part(config, std::nullopt);
  whole.start_at(0, 4, 0, 1);
  const std::vector<int64_t> all = read(whole, 3, 4);
  for (int64_t shard = 0; shard < 2; ++shard) {
    part.start_at(0, 2, shard, 2);
    const std::vector<int64_t> mine = read(part, 3, 2);
    for (size_t batch = 0; batch < 3; ++batch) {
      for (size_t i = 0; i < 2; ++i)
        EXPECT_EQ(mine[2 * batch + i], all[4 * batch + 2 * static_cast<size_t>(shard) + i]);
    }
  }
}

TEST(StageData, CaptionsAreDroppedByTheDrawAlone) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "flow_matching");
  config.data.caption_dropout = 0.5;
  // The empty prompt's embedding is -1, a caption's is positive.
  const auto dropped = [&](int64_t micro_batch) {
    StageData data(config, std::nullopt);
    data.start_at(0, micro_batch, 0, 1);
    std::vector<bool> all;
    for (int64_t step = 0; step < 8; ++step) {
      for (int64_t first = 0; first < 4; first += micro_batch) {
        const at::Tensor text = data.next(micro_batch, step, first).at("text");
        for (int64_t b = 0; b < micro_batch; ++b) all.push_back(text[b][0][0].item<double>() < 0);
      }
    }
    return all;
  };
  const std::vector<bool> by_two = dropped(2);
  EXPECT_EQ(by_two, dropped(4));
  const auto count = std::ranges::count(by_two, true);
  // 32 draws with probability 1/2: mean 16, standard deviation 2.8; four of them.
  EXPECT_GT(count, 4);
  EXPECT_LT(count, 28);
}

TEST(StageData, SaysWhichKeyDoesNotFitTheClips) {
  const TemporaryFolder folder;
  const TrainConfig fitting = small_stage(folder.path(), "flow_matching");
  const auto message = [&](const auto& change) {
    TrainConfig config = fitting;
    change(config);
    return error_of<UserError>([&] { StageData(config, std::nullopt); });
  };
  EXPECT_THAT(message([](TrainConfig& c) { c.model.in_dim = 4; }),
              HasSubstr("clips have 3 latent channels, model.in_dim is 4"));
  EXPECT_THAT(message([](TrainConfig& c) { c.model.text_dim = 6; }),
              HasSubstr("text embeddings are 5 wide, model.text_dim is 6"));
  EXPECT_THAT(message([](TrainConfig& c) { c.model.text_len = 2; }),
              HasSubstr("the longest text has 3 rows, model.text_len is 2"));
  EXPECT_THAT(message([](TrainConfig& c) { c.data.clip_shape = {6, 3, 4, 8}; }),
              HasSubstr("clips are [6, 3, 4, 4], data.clip_shape is [6, 3, 4, 8]"));
  EXPECT_THAT(message([](TrainConfig& c) { c.model.patch_size = {1, 3, 2}; }),
              HasSubstr("latents of 4x4 do not divide into model.patch_size 3x2"));
  EXPECT_THAT(
      message([](TrainConfig& c) { c.objective.name = "ode_regression"; }),
      HasSubstr("holds no states of ODE paths, which objective ode_regression learns from"));
  EXPECT_THAT(message([&](TrainConfig& c) { c.data.path = (folder / "none.h5").string(); }),
              HasSubstr("none.h5 is missing, and nothing says how to make it"));
}

TEST(StageData, APlannedBatchHasTheSizesOfARealOne) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "dmd");
  StageData data(config, std::nullopt);
  data.start_at(0, 2, 0, 1);
  const model::TensorMap real = data.next(2, 0, 0);
  model::TensorMap planned =
      sizes_only_batch(config, data.clip_shape(), data.clips().max_text_rows());
  planned.merge(sizes_only_shared_inputs(config, data.clips().empty_text().size(0)));
  ASSERT_EQ(real.size(), planned.size());
  for (const auto& [name, tensor] : real) {
    EXPECT_EQ(tensor.sizes(), planned.at(name).sizes()) << name;
    EXPECT_EQ(tensor.scalar_type(), planned.at(name).scalar_type()) << name;
  }
}

}  // namespace
}  // namespace vmla::trainer
