// What may change when a run is resumed, and what may not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "model/io/error.h"
#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_difference.h"

namespace vmla::trainer {
namespace {

using testing::message_of;

TrainConfig saved_config() {
  TrainConfig config;
  config.init_from["generator"] = {"runs/tiny/pretrain", "pretrain", "generator", ""};
  config.data.path = "a.h5";
  config.ema.decay = 0.99;
  return config;
}

struct Change {
  const char* key;
  std::function<void(TrainConfig&)> apply;
  bool refused;
};
void PrintTo(const Change& change, std::ostream* out) {
  *out << change.key;
}

class ConfigChange : public ::testing::TestWithParam<Change> {};

TEST_P(ConfigChange, IsFoundAloneAndJudged) {
  TrainConfig now = saved_config();
  GetParam().apply(now);
  const auto differences = config_difference(saved_config(), now);
  ASSERT_EQ(differences.size(), 1u);
  EXPECT_EQ(differences[0].key, GetParam().key);
  EXPECT_EQ(differences[0].refused, GetParam().refused);
  EXPECT_NE(differences[0].saved, differences[0].now);
}

INSTANTIATE_TEST_SUITE_P(
    Refused,
    ConfigChange,
    ::testing::Values(
        Change{"seed", [](TrainConfig& c) { c.seed = 1; }, true},
        Change{"model.dim", [](TrainConfig& c) { c.model.dim = 64; }, true},
        Change{"model.kv_lora_rank", [](TrainConfig& c) { c.model.kv_lora_rank = {{8}}; }, true},
        Change{"model.sink_size", [](TrainConfig& c) { c.model.sink_size = 2; }, true},
        Change{"init.method", [](TrainConfig& c) { c.init.method = "random"; }, true},
        Change{"init_from.generator.role",
               [](TrainConfig& c) { c.init_from["generator"].role = "x"; },
               true},
        Change{"objective.teacher_forcing.timestep_shift",
               [](TrainConfig& c) { c.objective.teacher_forcing.timestep_shift = 8; },
               true},
        Change{"data.path", [](TrainConfig& c) { c.data.path = "b.h5"; }, true},
        Change{"data.caption_dropout", [](TrainConfig& c) { c.data.caption_dropout = 0.5; }, true},
        Change{"train.batch_size", [](TrainConfig& c) { c.train.batch_size = 8; }, true},
        Change{"optimizer.betas", [](TrainConfig& c) { c.optimizer.betas[0] = 0.9; }, true},
        Change{"ema.decay", [](TrainConfig& c) { c.ema.decay = 0; }, true}));

INSTANTIATE_TEST_SUITE_P(
    Taken,
    ConfigChange,
    ::testing::Values(
        Change{"train.steps", [](TrainConfig& c) { c.train.steps = 9; }, false},
        Change{
            "train.micro_batch_size", [](TrainConfig& c) { c.train.micro_batch_size = 1; }, false},
        Change{"train.threads", [](TrainConfig& c) { c.train.threads = 2; }, false},
        Change{"train.recompute", [](TrainConfig& c) { c.train.recompute = "block"; }, false},
        Change{"train.log_every", [](TrainConfig& c) { c.train.log_every = 3; }, false},
        Change{"optimizer.lr", [](TrainConfig& c) { c.optimizer.lr = 1; }, false},
        Change{"optimizer.lr_schedule",
               [](TrainConfig& c) { c.optimizer.lr_schedule = "linear"; },
               false},
        Change{"ema.decay", [](TrainConfig& c) { c.ema.decay = 0.5; }, false},
        Change{"validation.every", [](TrainConfig& c) { c.validation.every = 7; }, false},
        Change{"checkpoint.every", [](TrainConfig& c) { c.checkpoint.every = 7; }, false},
        Change{"rank.every", [](TrainConfig& c) { c.rank.every = 7; }, false},
        Change{"sample.prompts", [](TrainConfig& c) { c.sample.prompts.list = {"a"}; }, false},
        Change{"data.loader_threads", [](TrainConfig& c) { c.data.loader_threads = 3; }, false}));

TEST(ConfigDifference, EqualConfigurationsHaveNone) {
  EXPECT_TRUE(config_difference(saved_config(), saved_config()).empty());
}

TEST(ConfigDifference, AMovedPipelineFolderIsNoDifference) {
  TrainConfig now = saved_config();
  now.init_from["generator"].path = "elsewhere/pretrain";
  EXPECT_TRUE(config_difference(saved_config(), now).empty());
  // Without a stage the path is what says where the weights come from.
  TrainConfig before = saved_config();
  before.init_from["generator"].stage = now.init_from["generator"].stage = "";
  EXPECT_EQ(config_difference(before, now).size(), 1u);
}

TEST(ConfigDifference, PlacesMayChangeWhereTheContentIsKnown) {
  TrainConfig before = saved_config();
  before.init_from["generator"].stage = "";
  TrainConfig now = before;
  now.data.path = "b.h5";
  now.data.make.videos = "elsewhere";
  now.init_from["generator"].path = "elsewhere/pretrain";
  const auto refused = [&](const KnownByContent& known) {
    const auto differences = config_difference(before, now, known);
    EXPECT_EQ(differences.size(), 3u);  // said all the same
    return std::ranges::count_if(differences, &ConfigDifference::refused);
  };
  EXPECT_EQ(refused({}), 3);
  EXPECT_EQ(refused({.data = true}), 1);
  EXPECT_EQ(refused({.data = true, .sources = {"generator"}}), 0);
  EXPECT_EQ(refused({.data = false, .sources = {"teacher"}}), 3);
}

TEST(ConfigDifference, APermissionOpensWhatItNames) {
  TrainConfig now = saved_config();
  now.data.path = "b.h5";
  now.data.allow_other_data = true;
  now.init.allow_other_source = true;
  EXPECT_EQ(check_resume(saved_config(), now, "runs/x").size(), 3u);
  now.data.caption_dropout = 0.5;
  EXPECT_THAT(message_of<UserError>([&] { check_resume(saved_config(), now, "runs/x"); }),
              ::testing::HasSubstr("data.caption_dropout"));
}

TEST(ConfigDifference, AnotherObjectiveShowsBothSections) {
  TrainConfig now = saved_config();
  now.objective.name = "flow_matching";
  const auto differences = config_difference(saved_config(), now);
  EXPECT_THAT(differences,
              ::testing::Contains(
                  ConfigDifference{"objective.name", "teacher_forcing", "flow_matching", true}));
  EXPECT_THAT(differences,
              ::testing::Contains(ConfigDifference{
                  "objective.flow_matching.timestep_shift", "(absent)", "5", true}));
}

TEST(ConfigDifference, ResumingRefusesAndNamesBothValues) {
  TrainConfig now = saved_config();
  now.train.steps = 9;
  EXPECT_EQ(check_resume(saved_config(), now, "runs/x").size(), 1u);
  now.seed = 4;
  now.model.dim = 64;
  EXPECT_EQ(message_of<UserError>([&] { check_resume(saved_config(), now, "runs/x"); }),
            "runs/x: cannot resume: seed (0 -> 4), model.dim (1536 -> 64) would change what was "
            "already trained; restore it, or start anew in another --run-dir");
}

}  // namespace
}  // namespace vmla::trainer
