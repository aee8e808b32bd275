// Rules of the other sections, one broken rule at a time in the shipped tiny stages; and the CPU
// threads that a configuration gets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "model/io/error.h"
#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/cpu_threads.h"

namespace vmla::trainer {
namespace {

using testing::BrokenRule;
using ::testing::HasSubstr;
using testing::message_of;

const std::filesystem::path kTeacherForcing = testing::shipped_config("tiny/teacher_forcing.yaml");
const std::filesystem::path kPretrain = testing::shipped_config("tiny/pretrain.yaml");

class StageRules : public ::testing::TestWithParam<BrokenRule> {};

TEST_P(StageRules, NameKeyValueAndRemedy) {
  testing::expect_refused(kTeacherForcing, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Each,
    StageRules,
    ::testing::Values(
        BrokenRule{
            "stage", "a/b", "'a/b' is no folder name; use letters, digits, '_', '-' and '.'"},
        BrokenRule{"init.method",
                   "cares",
                   "'cares' is unknown; valid: random, svd_weight, svd_split, svd_full_mean_rope, "
                   "transmla, care, care_complex"},
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
        BrokenRule{"train.recompute", "all", "'all' is unknown; valid: none, selective, block"},
        BrokenRule{"train.device", "gpu", "'gpu' is unknown; valid: cpu, cuda"},
        BrokenRule{"distributed.offload",
                   "[activations]",
                   "activations: with train.recompute: none all of them are in use at once; take "
                   "selective or block"},
        BrokenRule{"kernels.attention", "fused", "'fused' is unknown; valid: flash, cudnn"},
        BrokenRule{"kernels.rope", "cudnn", "'cudnn' is unknown; valid: auto, reference, fused"},
        BrokenRule{"train.log_every", "0", "0 is too small; use at least 1"},
        BrokenRule{"ema.decay", "1", "1 is out of range; use 0 <= ema.decay < 1"},
        BrokenRule{"validation.clips", "0", "0 is too small; use at least 1"},
        BrokenRule{"checkpoint.keep_last", "0", "0 is too small; use at least 1"},
        BrokenRule{"sample.kv_cache_dtype", "fp8", "'fp8' is unknown; valid: auto, int8"},
        BrokenRule{"sample.sampler",
                   "few_step",
                   "few_step needs a distilled model, objective teacher_forcing trains none; use "
                   "unipc or euler"},
        BrokenRule{
            "sample.sampler", "heun", "'heun' is unknown; valid: auto, unipc, euler, few_step"},
        BrokenRule{"sample.guidance_scale", "-1", "-1 is negative; 1 means no guidance"}));

TEST(ConfigStageRules, AnOrderOfSumsThatIsFixedIsNotCudnns) {
  EXPECT_THAT(message_of<UserError>([] {
                load_config(kTeacherForcing,
                            {"kernels.attention=cudnn", "train.deterministic=true"});
              }),
              HasSubstr("kernels.attention: cudnn: its backward adds in any order"));
}

TEST(ConfigStageRules, AStageNameAloneNeedsAPipeline) {
  EXPECT_THAT(message_of<UserError>(
                  [] { load_config(kTeacherForcing, {"init_from.generator.path=\"\""}); }),
              HasSubstr("init_from.generator.stage: 'pretrain' is known to `vmla pipeline` only; "
                        "give a path here"));
}

TEST(ConfigStageRules, AnAverageThatNeverStartsIsRefused) {
  EXPECT_THAT(message_of<UserError>(
                  [] { load_config(kPretrain, {"ema.decay=0.99", "ema.start_step=2000000000"}); }),
              HasSubstr("ema.start_step: 2000000000 is not before train.steps"));
}

TEST(ConfigStageRules, ValidationNeedsHeldOutClips) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("x.yaml", "data: {path: x}\nvalidation:\n  every: 10\n");
  EXPECT_EQ(message_of<UserError>([&] { load_config(file, {}); }),
            file.string() +
                ":3: validation.every: 10 needs held-out clips; name them in data.validation_path, "
                "or use 0");
}

TEST(ConfigStageRules, OneEvaluationNeedsNoData) {
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

}  // namespace
}  // namespace vmla::trainer
