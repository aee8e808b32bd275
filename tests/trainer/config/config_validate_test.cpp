// Rules across keys, on the shipped tiny stage: one broken rule at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "model/io/error.h"
#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/cpu_threads.h"
#include "trainer/pipeline/pipeline_config.h"

namespace vmla::trainer {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;

const std::filesystem::path kConfigs = VMLA_CONFIG_DIR;
const std::filesystem::path kTeacherForcing = kConfigs / "tiny/teacher_forcing.yaml";
const std::filesystem::path kPretrain = kConfigs / "tiny/pretrain.yaml";

struct BrokenRule {
  const char* key;      // the key that the message names
  const char* value;    // what it is set to
  const char* message;  // after "--set key=value: key: "
};

void expect_refused(const std::filesystem::path& file, const BrokenRule& rule) {
  const std::string assignment = std::string(rule.key) + "=" + rule.value;
  EXPECT_EQ(message_of<UserError>([&] { load_config(file, {assignment}); }),
            "--set " + assignment + ": " + rule.key + ": " + rule.message);
}

class TeacherForcingRules : public ::testing::TestWithParam<BrokenRule> {};
TEST_P(TeacherForcingRules, NameKeyValueAndRemedy) {
  expect_refused(kTeacherForcing, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Model,
    TeacherForcingRules,
    ::testing::Values(
        BrokenRule{"model.attention", "sparse", "'sparse' is unknown; valid: dense, mla"},
        BrokenRule{"model.num_heads", "5", "5 does not divide model.dim (64)"},
        BrokenRule{"model.num_heads",
                   "64",
                   "64 gives heads of 1 channels (model.dim / num_heads); rotary pairs need an "
                   "even number"},
        BrokenRule{"model.num_layers", "0", "0 is too small; use at least 1"},
        BrokenRule{"model.freq_dim",
                   "63",
                   "63 is odd; half of it are cosines, half sines: use an even width"},
        BrokenRule{"model.patch_size",
                   "[2, 2, 2]",
                   "a token spans 2 frames; every frame has its own timestep, so the first entry "
                   "must be 1"},
        BrokenRule{"model.eps", "0", "0 is not positive; Wan uses 1e-6"},
        BrokenRule{"model.kv_lora_rank", "65", "65 is above the width; use at most model.dim (64)"},
        BrokenRule{"model.kv_lora_rank",
                   "[24, 24, 65]",
                   "65 is above the width; use at most model.dim (64)"},
        BrokenRule{"model.kv_lora_rank",
                   "[24, 24]",
                   "2 ranks for 3 layers; give one number, or one per layer"},
        BrokenRule{"model.kv_lora_rank", "0", "0 is too small; use at least 1"},
        BrokenRule{"model.q_lora_rank", "65", "65 is above the width; use at most model.dim (64)"},
        BrokenRule{
            "model.qk_rope_head_dim", "5", "5 is odd; rotation works on pairs: use an even number"},
        BrokenRule{"model.qk_rope_head_dim",
                   "34",
                   "34 is above the dense head of 32 channels (model.dim / num_heads), whose pairs "
                   "it chooses from"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4, 8, 12, 14, 16]",
                   "pair 16 is out of range; a head of 32 channels has pairs 0 to 15"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4, 8, 12, 14, -1]",
                   "pair -1 is out of range; a head of 32 channels has pairs 0 to 15"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4, 4, 8, 12, 14]",
                   "pair 4 appears twice; every pair at most once"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4]",
                   "2 pairs, but model.qk_rope_head_dim (12) holds 6"},
        BrokenRule{"model.rope_pair_indices",
                   "[[0, 4, 6], [0, 4, 6]]",
                   "2 lists for 3 layers; give one list, or one per layer"},
        BrokenRule{"model.local_attn_size",
                   "0",
                   "0 is no window; use -1 for all frames, or a number of frames, sink and own "
                   "chunk included"},
        BrokenRule{
            "model.local_attn_size",
            "3",
            "3 counts every attended frame: less model.sink_size (1) it leaves 2 for a chunk of "
            "model.num_frame_per_block (3); use at least 4, or -1 for all frames"},
        BrokenRule{"model.sink_size", "-1", "-1 is too small; use at least 0"},
        BrokenRule{"model.num_frame_per_block",
                   "2",
                   "2 does not divide a clip of 9 latent frames; use a multiple of 2 frames"},
        BrokenRule{"model.qk_nope_head_dim",
                   "8",
                   "8 + qk_rope_head_dim (12) is 20, but svd_weight keeps the dense head of 32 "
                   "channels; use 20"},
        BrokenRule{"model.v_head_dim",
                   "8",
                   "8 differs from the dense head (32), whose values and output projection "
                   "init.method svd_weight keeps"},
        BrokenRule{"model.out_dim",
                   "16",
                   "16 differs from model.in_dim (12); a flow has the latents' channels"},
        BrokenRule{"model.text_dim", "16", "16, but data.make.text hashing:32x8 gives 32"},
        BrokenRule{
            "model.text_len", "4", "4 rows, but data.make.text hashing:32x8 gives up to 8"}));

INSTANTIATE_TEST_SUITE_P(
    Stage,
    TeacherForcingRules,
    ::testing::Values(
        BrokenRule{
            "stage", "a/b", "'a/b' is no folder name; use letters, digits, '_', '-' and '.'"},
        BrokenRule{"init.method", "care", "'care' is unknown; valid: random, svd_weight"},
        BrokenRule{"init_from.teacher",
                   "x",
                   "objective teacher_forcing has no role 'teacher'; valid: generator"},
        BrokenRule{"objective.teacher_forcing.timestep_shift", "0", "0 must be above 0"},
        BrokenRule{"objective.teacher_forcing.noise_augmentation_max_timestep",
                   "1000",
                   "1000 is out of range; use 0 (off) to 999"},
        BrokenRule{
            "data.path",
            "\"\"",
            "is missing; name the HDF5 file or folder of clips (vmla data encode writes one)"},
        BrokenRule{"data.caption_dropout",
                   "1.5",
                   "1.5 is out of range; use 0 <= data.caption_dropout <= 1"},
        BrokenRule{"data.caption_dropout",
                   "-0.1",
                   "-0.1 is out of range; use 0 <= data.caption_dropout <= 1"},
        BrokenRule{"data.prefetch_batches", "0", "0 is too small; use at least 1"},
        BrokenRule{"data.make.videos",
                   "\"\"",
                   "is empty, but data.make.synth_count renders videos; name their folder"},
        BrokenRule{
            "data.make.prompts",
            "moving_shapes",
            "moving_shapes: a dataset holds prompts or clips; leave out synth_count and videos"},
        BrokenRule{"data.make.size_height",
                   "18",
                   "18 pixels: a token covers 4 (codec 2 x patch 2); use a multiple of 4"},
        BrokenRule{"data.make.fps", "0", "0 must be above 0"},
        BrokenRule{"data.validation_path",
                   "\"\"",
                   "is empty, but data.make_validation makes it; name the file"},
        BrokenRule{"optimizer.lr", "0", "0 must be above 0"},
        BrokenRule{"optimizer.lr", "-1e-3", "-0.001 must be above 0"},
        BrokenRule{
            "optimizer.betas", "[0.9, 1]", "1 is out of range; use 0 <= optimizer.betas < 1"},
        BrokenRule{"optimizer.eps", "0", "0 must be above 0"},
        BrokenRule{"optimizer.weight_decay", "-1", "-1 is negative; use 0 or more"},
        BrokenRule{"optimizer.max_grad_norm", "-1", "-1 is negative; use 0 for no clipping"},
        BrokenRule{
            "optimizer.lr_schedule", "step", "'step' is unknown; valid: constant, linear, cosine"},
        BrokenRule{"optimizer.warmup_steps",
                   "100000",
                   "100000 is longer than the stage (train.steps is 4500)"},
        BrokenRule{"optimizer.min_lr_ratio",
                   "2",
                   "2 is out of range; use 0 <= optimizer.min_lr_ratio <= 1"},
        BrokenRule{"train.steps", "0", "0 is too small; use at least 1"},
        BrokenRule{"train.batch_size", "0", "0 is too small; use at least 1"},
        BrokenRule{"train.micro_batch_size",
                   "5",
                   "5 does not divide train.batch_size (4); the batch is a whole number of micro "
                   "batches"},
        BrokenRule{"train.precision", "fp16", "'fp16' is unknown; valid: fp32, bf16, fp64"},
        BrokenRule{"train.recompute", "all", "'all' is unknown; valid: none, block"},
        BrokenRule{"train.device", "gpu", "'gpu' is unknown; valid: cpu, cuda"},
        BrokenRule{"train.log_every", "0", "0 is too small; use at least 1"},
        BrokenRule{"ema.decay", "1", "1 is out of range; use 0 <= ema.decay < 1"},
        BrokenRule{"validation.clips", "0", "0 is too small; use at least 1"},
        BrokenRule{"checkpoint.keep_last", "0", "0 is too small; use at least 1"},
        BrokenRule{"sample.sampler",
                   "few_step",
                   "few_step needs a distilled model, objective teacher_forcing trains none; use "
                   "unipc or euler"},
        BrokenRule{
            "sample.sampler", "heun", "'heun' is unknown; valid: auto, unipc, euler, few_step"},
        BrokenRule{"sample.guidance_scale", "-1", "-1 is negative; 1 means no guidance"}));

TEST(ConfigRules, AKeyThatIsNotInTheFileIsNamedWithTheFile) {
  const std::string message = message_of<UserError>(
      [] { load_config(kPretrain, {"model.qk_rope_head_dim=6", "init.method=random"}); });
  EXPECT_THAT(
      message,
      StartsWith("--set init.method=random: init.method: random converts to latent attention"));
}

TEST(ConfigRules, TheCodecDecidesTheChannels) {
  EXPECT_THAT(
      message_of<UserError>([] { load_config(kPretrain, {"data.make.codec=space_to_depth:4"}); }),
      HasSubstr("model.in_dim: 12 channels, but data.make.codec space_to_depth:4 gives 48"));
}

TEST(ConfigRules, ConversionNeedsDenseWeights) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("x.yaml",
                                 "model: {preset: tiny, attention: mla}\n"
                                 "init: {method: svd_weight}\n"
                                 "data: {path: x}\n");
  EXPECT_EQ(message_of<UserError>([&] { load_config(file, {}); }),
            file.string() +
                ":2: init.method: svd_weight starts from dense weights; name them in "
                "init_from.generator");
  EXPECT_NO_THROW(load_config(file, {"init.method=random"}));
}

TEST(ConfigRules, AStageNameAloneNeedsAPipeline) {
  EXPECT_THAT(message_of<UserError>(
                  [] { load_config(kTeacherForcing, {"init_from.generator.path=\"\""}); }),
              HasSubstr("init_from.generator.stage: 'pretrain' is known to `vmla pipeline` only; "
                        "give a path here"));
}

TEST(ConfigRules, BidirectionalObjectivesTakeNoCausalWindow) {
  for (const char* set :
       {"model.local_attn_size=7", "model.sink_size=1", "model.independent_first_frame=true"}) {
    EXPECT_THAT(message_of<UserError>([&] { load_config(kPretrain, {set}); }),
                HasSubstr("but objective flow_matching is bidirectional"));
  }
}

TEST(ConfigRules, IndependentFirstFrameLeavesWholeChunks) {
  EXPECT_THAT(message_of<UserError>(
                  [] { load_config(kTeacherForcing, {"model.independent_first_frame=true"}); }),
              HasSubstr("3 does not divide a clip of 9 latent frames after its first frame; use 1 "
                        "+ a multiple of 3"));
  EXPECT_NO_THROW(
      load_config(kTeacherForcing, {"model.independent_first_frame=true", "data.make.frames=10"}));
}

TEST(ConfigRules, AnAverageThatNeverStartsIsRefused) {
  EXPECT_THAT(message_of<UserError>(
                  [] { load_config(kPretrain, {"ema.decay=0.99", "ema.start_step=2000000000"}); }),
              HasSubstr("ema.start_step: 2000000000 is not before train.steps"));
}

TEST(ConfigRules, ValidationNeedsHeldOutClips) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("x.yaml", "data: {path: x}\nvalidation:\n  every: 10\n");
  EXPECT_EQ(message_of<UserError>([&] { load_config(file, {}); }),
            file.string() +
                ":3: validation.every: 10 needs held-out clips; name them in data.validation_path, "
                "or use 0");
}

TEST(ConfigRules, OneEvaluationNeedsNoData) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("x.yaml", "model: {preset: tiny}\n");
  EXPECT_THROW(load_config(file, {}), UserError);
  EXPECT_NO_THROW(load_config(file, {}, Purpose::kStep));
}

TEST(ConfigThreads, FollowTheFileThenTheWidth) {
  TrainConfig config = load_config(kPretrain, {});
  EXPECT_EQ(cpu_threads(config, 16), 1);  // narrow: a second thread gains nothing
  config.model.dim = 1536;
  EXPECT_EQ(cpu_threads(config, 2), 2);
  EXPECT_EQ(cpu_threads(config, 64), 8);
  config.train.threads = 12;
  EXPECT_EQ(cpu_threads(config, 2), 12);
}

TEST(ConfigThreads, AParentSharesTheMachineByTheEnvironment) {
  ASSERT_EQ(setenv("OMP_NUM_THREADS", "3", 1), 0);
  EXPECT_EQ(available_cores(), 3);
  ASSERT_EQ(setenv("OMP_NUM_THREADS", "4,2", 1), 0);  // nested levels: not a plain number
  const int64_t all = available_cores();
  ASSERT_EQ(unsetenv("OMP_NUM_THREADS"), 0);
  EXPECT_EQ(available_cores(), all);
  EXPECT_GE(all, 1);
}

// Every yaml file that is shipped loads; pipelines with all their stages.
TEST(ShippedConfigs, Load) {
  int stages = 0, pipelines = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kConfigs)) {
    if (entry.path().extension() != ".yaml") continue;
    SCOPED_TRACE(entry.path().string());
    if (entry.path().stem().string().starts_with("pipeline")) {
      EXPECT_GE(load_pipeline(entry.path(), {}, "").stages.size(), 1u);
      ++pipelines;
    } else {
      const TrainConfig config = load_config(entry.path(), {});
      EXPECT_EQ(parse_resolved(resolved_yaml(config), "resolved"), config);
      ++stages;
    }
  }
  EXPECT_GE(stages, 4);
  EXPECT_GE(pipelines, 1);
}

TEST(ShippedConfigs, CarryThePublishedValues) {
  const TrainConfig config = load_config(kConfigs / "wan1.3b/teacher_forcing.yaml", {});
  EXPECT_EQ(config.optimizer.lr, 5e-6);
  EXPECT_EQ(config.optimizer.betas, (std::array<double, 2>{0.0, 0.999}));
  EXPECT_EQ(config.model.kv_lora_rank.at(29), 192);
  EXPECT_EQ(config.model.q_lora_rank, 768);
  EXPECT_EQ(config.objective.teacher_forcing.timestep_shift, 5.0);
  EXPECT_EQ(config.sample.steps, 50);
  EXPECT_EQ(load_config(kConfigs / "wan14b/teacher_forcing.yaml", {}).model.dim, 5120);
}

}  // namespace
}  // namespace vmla::trainer
