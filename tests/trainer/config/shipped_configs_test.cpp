// Every file under configs/ is one that the program takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "trainer/config/config_node.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/validate_data.h"
#include "trainer/pipeline/pipeline_config.h"
#include "trainer/sweep/sweep_file.h"
#include "trainer/sweep/sweep_plan.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

// Wan's shared default, to the letter.
const char kNegativePrompt[] =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，"
    "整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，"
    "画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
    "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走";

bool holds(const fs::path& file, const char* key) {
  return parse_yaml_file(file).find(key) != nullptr;
}

/// Every yaml file: stages, pipelines and sweeps.
std::vector<fs::path> shipped_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(VMLA_CONFIG_DIR)) {
    const fs::path& file = entry.path();
    if (file.extension() == ".yaml") files.push_back(file);
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The name of a file's folder and its own: what a failure is known by.
std::string label(const fs::path& file) {
  return (file.parent_path().filename() / file.filename()).string();
}

class ShippedConfig : public ::testing::TestWithParam<fs::path> {};

TEST_P(ShippedConfig, Loads) {
  const fs::path& file = GetParam();
  if (holds(file, "base")) {
    const SweepFile sweep = read_sweep_file(file, {});
    EXPECT_NO_THROW(check_sweep(sweep, "runs/sweep"));
    return;
  }
  if (holds(file, "stages")) {
    const PipelineConfig pipeline = load_pipeline(file, {}, "");
    EXPECT_FALSE(pipeline.stages.empty());
    return;
  }
  const TrainConfig config = load_config(file, {});
  EXPECT_EQ(parse_resolved(resolved_yaml(config), "resolved"), config);
  // A plan (--dry-run) needs the clips' shape without the data: said, or known from how they are
  // made.
  if (!config.data.clip_shape.empty()) return;
  EXPECT_GT(known_latent_frames(config), 0) << "nothing says the shape of the clips";
}

INSTANTIATE_TEST_SUITE_P(Files,
                         ShippedConfig,
                         ::testing::ValuesIn(shipped_files()),
                         [](const auto& file) {
                           std::string name = label(file.param);
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

// Both Wan models have the same complete set of stages.
TEST(ShippedWanConfigs, CoverEveryStageForBothSizes) {
  std::set<std::string> of[2];
  for (const fs::path& file : shipped_files()) {
    const std::string folder = file.parent_path().filename();
    if (folder == "wan1.3b") of[0].insert(file.filename());
    if (folder == "wan14b") of[1].insert(file.filename());
  }
  EXPECT_EQ(of[0], of[1]);
  for (const char* stage : {"teacher_forcing",
                            "diffusion_forcing",
                            "ode_regression",
                            "consistency",
                            "dmd",
                            "dmd_framewise",
                            "dmd_2step",
                            "dmd_1step",
                            "dmd_long",
                            "pipeline",
                            "pipeline_framewise",
                            "pipeline_8gpu"}) {
    EXPECT_TRUE(of[0].contains(std::string(stage) + ".yaml")) << stage;
  }
}

// What a file's stage key says is where the other files look for it: runs/.../STAGE.
TEST(ShippedWanConfigs, AreNamedAfterTheirStage) {
  for (const fs::path& file : shipped_files()) {
    if (!label(file).starts_with("wan") || holds(file, "stages")) continue;
    EXPECT_EQ(load_config(file, {}).stage, file.stem()) << file;
  }
}

TEST(ShippedWanConfigs, GiveWansNegativePrompt) {
  std::set<std::string> prompts;
  for (const fs::path& file : shipped_files()) {
    if (!label(file).starts_with("wan") || holds(file, "stages")) continue;
    const TrainConfig config = load_config(file, {});
    if (config.sample.guidance_scale != 1) prompts.insert(config.sample.negative_prompt);
    if (config.objective.name == "dmd") prompts.insert(config.objective.dmd.negative_prompt);
    if (config.objective.name == "consistency_distillation")
      prompts.insert(config.objective.consistency_distillation.negative_prompt);
  }
  EXPECT_THAT(prompts, ::testing::ElementsAre(kNegativePrompt));
}

TEST(ShippedWanConfigs, CarryThePublishedValues) {
  const TrainConfig config =
      load_config(fs::path(VMLA_CONFIG_DIR) / "wan1.3b/teacher_forcing.yaml", {});
  EXPECT_EQ(config.optimizer.lr, 5e-6);
  EXPECT_EQ(config.optimizer.betas, (std::array<double, 2>{0.0, 0.999}));
  EXPECT_EQ(config.model.kv_lora_rank.at(29), 192);
  EXPECT_EQ(config.model.q_lora_rank, 768);
  EXPECT_EQ(config.objective.teacher_forcing.timestep_shift, 5.0);
  EXPECT_EQ(config.sample.steps, 50);
  EXPECT_EQ(load_config(fs::path(VMLA_CONFIG_DIR) / "wan14b/teacher_forcing.yaml", {}).model.dim,
            5120);
}

}  // namespace
}  // namespace vmla::trainer
