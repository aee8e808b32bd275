#include "trainer/roles/role_set.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/config/config_json.h"
#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "model/weights/weights.h"
#include "tests/support/temporary_folder.h"
#include "tests/trainer/small_networks.h"
#include "tests/trainer/small_stage.h"
#include "trainer/config/stage_roles.h"

namespace vmla::trainer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Dense weights of these sizes as a bare file, whose shapes do not show heads and text length.
std::string weights_file(const std::filesystem::path& path, const model::ModelConfig& config) {
  model::write_safetensors(path, model::random_weights(config, 3));
  return path.string();
}

/// The same as a Wan folder, whose config.json states them.
std::string weights_folder(const std::filesystem::path& folder, const model::ModelConfig& config) {
  std::filesystem::create_directories(folder);
  weights_file(folder / "model.safetensors", config);
  write_bytes(folder / "config.json", model::wan_config_json(config));
  return folder.string();
}

RoleSet built(const TrainConfig& config) {
  return build_roles(config, stage_roles(config), nullptr, distributed::Mesh());
}

TEST(RoleSet, AverageStartsAsACopyAndOnlyTheTrainedHaveAnOptimizer) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.ema.decay = 0.9;
  RoleSet roles = built(config);
  EXPECT_TRUE(roles.at("generator").optimizer);
  EXPECT_FALSE(roles.at("generator_ema").optimizer);
  EXPECT_EQ(roles.best().role.name, "generator_ema");
  for (const int64_t unit : roles.at("generator").weights->units()) {
    const auto average = roles.at("generator_ema").weights->tensors_of(unit);
    for (const auto& [name, tensor] : roles.at("generator").weights->tensors_of(unit)) {
      EXPECT_TRUE(at::equal(tensor, average.at(name))) << name;
      EXPECT_NE(tensor.const_data_ptr(), average.at(name).const_data_ptr()) << name;
    }
  }
}

TEST(RoleSet, AveragesOfAPlayerAreThoseThatFollowIt) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.ema.decay = 0.9;
  config.ema.start_step = 3;
  std::vector<Role> of_stage = stage_roles(config);
  of_stage.push_back({.name = "target_ema",
                      .training = Training::kEmaOf,
                      .ema_of = "generator",
                      .ema_decay = 0.5});
  RoleSet roles = build_roles(config, of_stage, nullptr, distributed::Mesh());
  const auto early = roles.averages_of("generator", 2), late = roles.averages_of("generator", 3);
  ASSERT_EQ(early.size(), 2u);
  ASSERT_EQ(late.size(), 2u);
  EXPECT_EQ(&early[0].weights, roles.at("generator_ema").weights.get());
  EXPECT_EQ(early[0].decay, 0.0);
  EXPECT_EQ(late[0].decay, 0.9);
  EXPECT_EQ(&early[1].weights, roles.at("target_ema").weights.get());
  EXPECT_EQ(early[1].decay, 0.5);
  EXPECT_TRUE(roles.averages_of("generator_ema", 3).empty());
}

TEST(RoleSet, CopiesAreThereForAStepOrForWhatIsSampled) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.ema.decay = 0.9;
  config.train.precision = "bf16";
  RoleSet roles = built(config);
  model::TrainedWeights& generator = *roles.at("generator").weights;
  model::TrainedWeights& average = *roles.at("generator_ema").weights;
  generator.acquire(0), average.acquire(0);
  roles.make_room_for_step();
  EXPECT_TRUE(generator.compute_copy(0).defined());
  EXPECT_FALSE(average.compute_copy(0).defined());
  average.acquire(0);
  roles.make_room_for_best();
  EXPECT_FALSE(generator.compute_copy(0).defined());
  EXPECT_TRUE(average.compute_copy(0).defined());
}

TEST(RoleSet, ScoresHaveTheSizesOfTheirWeightsAndShareThem) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "dmd");
  const model::ModelConfig score = small_score();
  config.init_from["real_score"].path = weights_folder(folder / "score", score);
  RoleSet roles = built(config);
  EXPECT_EQ(roles.at("real_score").config.dim, 24);
  EXPECT_EQ(roles.at("real_score").config.num_layers, 3);
  EXPECT_EQ(roles.at("generator").config.dim, 16);
  EXPECT_FALSE(roles.at("real_score").weights);
  EXPECT_TRUE(roles.at("fake_score").optimizer);
  EXPECT_EQ(roles.models().at("fake_score").num_layers, 3);
  EXPECT_EQ(roles.best().role.name, "generator");
}

TEST(RoleSet, AScoreOfOtherLatentsIsRefusedByItsKey) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "dmd");
  model::ModelConfig score = small_score();
  score.text_dim = 7;
  config.init_from["real_score"].path = weights_folder(folder / "score", score);
  const std::string message = error_of<UserError>([&] { built(config); });
  EXPECT_THAT(message, HasSubstr("init_from.real_score: "));
  EXPECT_THAT(message, HasSubstr("has text_dim 7, the student's model.text_dim is 5"));
}

TEST(RoleSet, DenseWeightsNeedAMethodToBecomeLatentAttention) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  config.init_from["generator"].path =
      weights_file(folder / "dense.safetensors", small_model("dense"));
  EXPECT_THAT(error_of<UserError>([&] { built(config); }),
              HasSubstr("init.method must say how to convert it"));
  config.init.method = "svd_weight";
  const RoleSet roles = built(config);
  EXPECT_EQ(roles.generator_origin.init_method, "svd_weight");
  EXPECT_EQ(roles.generator_origin.conversion.size(), 2u);
  EXPECT_TRUE(roles.generator_origin.tensors.empty());
}

TEST(StageRoles, SavedRolesNameTheOneToGoOnFromFirst) {
  TrainConfig config;
  config.ema.decay = 0.9;
  config.objective.name = "consistency_distillation";
  EXPECT_THAT(saved_roles(config), ElementsAre("generator_ema", "target_ema", "generator"));
  EXPECT_THAT(named_roles(config.objective), ElementsAre("generator", "teacher", "target_ema"));
  config.objective.name = "dmd";
  EXPECT_THAT(saved_roles(config), ElementsAre("generator_ema", "generator", "fake_score"));
  EXPECT_TRUE(is_score(config.objective, "fake_score"));
  EXPECT_FALSE(is_score(config.objective, "generator"));
  config.ema.decay = 0;
  config.objective.name = "flow_matching";
  EXPECT_THAT(saved_roles(config), ElementsAre("generator"));
}

}  // namespace
}  // namespace vmla::trainer
