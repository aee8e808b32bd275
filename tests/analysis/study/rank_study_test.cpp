#include "analysis/study/rank_study.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/rank/rank_log.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::analysis {
namespace {

using testing::HasSubstr;

at::Tensor gaussian(uint64_t sample, std::vector<int64_t> sizes) {
  return kernels::normal({2, 0, kernels::Purpose::kInit, 0, sample}, sizes);
}

model::TensorMap example() {
  model::TensorMap tensors;
  for (int64_t i = 0; i < 2; ++i) {
    const std::string prefix = formatted("blocks.{}.self_attn.", i);
    const auto sample = static_cast<uint64_t>(2 * i);
    tensors[prefix + "kv_b_proj.weight"] = gaussian(sample, {40, 6});
    tensors[prefix + "kv_a_layernorm.weight"] = at::ones({6});
    tensors[prefix + "kv_a_proj_with_mqa.weight"] = gaussian(sample + 1, {8, 24});
  }
  return tensors;
}

RankPoint point(const std::string& series, int64_t step) {
  RankTracker tracker;
  const auto layers = latent_layers(example(), series);
  return {series, "random", step, tracker.measure(layers), tracker.nulls(layers, step), {}};
}

TEST(RankStudy, WritesTheRunFoldersLayout) {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder / "out";
  write_rank_study({point("run", 6), point("run", 3)}, out);
  const RankLog log = RankLog::read(out / "rank.h5");
  EXPECT_EQ(log.steps(), (std::vector<int64_t>{3, 6}));
  EXPECT_EQ(log.init(), "random");
  EXPECT_EQ(log.num_layers(), 2);
  EXPECT_EQ(log.null().size(), 2u);
  EXPECT_EQ(log.measurements()[0][1].spectrum,
            composed_rank(latent_layers(example(), "run")[1]).spectrum);
  EXPECT_THAT(io::read_text_file(out / "rank.csv"), HasSubstr("run,random,3,0,6,"));
  EXPECT_THAT(io::read_text_file(out / "rank.html"), HasSubstr("random product"));
  EXPECT_THAT(io::read_text_file(out / "rank.svg"), HasSubstr("<?xml"));

  write_rank_study({point("a", 1), point("b", 1)}, out);
  EXPECT_EQ(RankLog::read(out / "b" / "rank.h5").steps(), (std::vector<int64_t>{1}));
}

TEST(RankStudy, SaysWhatDoesNotFit) {
  const auto message_of = [](const model::TensorMap& tensors) {
    return error_of<UserError>([&] { latent_layers(tensors, "export"); });
  };
  EXPECT_THAT(message_of({}), HasSubstr("export: has no latent attention"));
  model::TensorMap tensors = example();
  tensors.erase("blocks.1.self_attn.kv_a_layernorm.weight");
  EXPECT_THAT(message_of(tensors),
              HasSubstr("blocks.1.self_attn.kv_a_layernorm.weight is missing"));
  tensors = example();
  tensors["blocks.0.self_attn.kv_a_layernorm.weight"] = at::ones({5});
  EXPECT_THAT(message_of(tensors), HasSubstr("layer 0 do not fit together"));
  tensors = example();
  tensors["blocks.1.self_attn.kv_b_proj.weight"][0][0] = INFINITY;
  EXPECT_THAT(message_of(tensors), HasSubstr("layer 1 holds NaN or infinity"));
  const TemporaryFolder folder;
  EXPECT_THAT(error_of<UserError>(
                  [&] { write_rank_study({point("run", 3), point("run", 3)}, folder.path()); }),
              HasSubstr("run: step 3 was given twice"));
}

}  // namespace
}  // namespace vmla::analysis
