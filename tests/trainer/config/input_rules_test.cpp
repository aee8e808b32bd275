// What a configuration is refused for at once: names that are mistyped, texts that expand, keys
// that would be ignored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/pipeline_config.h"

namespace vmla::trainer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using testing::shipped_config;
using ::testing::StartsWith;
using testing::TemporaryFolder;

std::string problem(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return message_of<UserError>([&] { load_config(file, overrides); });
}

const std::filesystem::path kFootage = shipped_config("tiny/footage.yaml");

TEST(MistypedData, APathOfTheCommandLineMustBeThere) {
  EXPECT_THAT(problem(kFootage, {"data.path=trian.h5"}),
              AllOf(StartsWith("--set data.path=trian.h5: data.path: trian.h5 does not exist"),
                    HasSubstr("--set data.make.videos")));
  EXPECT_THAT(problem(kFootage, {"data.validation_path=hled.h5"}),
              HasSubstr("--set data.make_validation.videos"));
  EXPECT_THAT(problem(kFootage, {"data={path: trian.h5}"}), HasSubstr("trian.h5 does not exist"));
}

TEST(MistypedData, WhatExistsOrIsMadeInTheSameCommandIsTaken) {
  const TemporaryFolder folder;
  const std::string file = folder.write("clips.h5", "").string();
  EXPECT_NO_THROW(load_config(kFootage, {"data.path=" + file}));
  EXPECT_NO_THROW(load_config(kFootage, {"data.path=new.h5", "data.make.videos=footage"}));
  EXPECT_NO_THROW(load_config(kFootage, {}));  // the file says path and how to make it
}

TEST(MistypedData, APipelinesStageToo) {
  EXPECT_THAT(message_of<UserError>([] {
                load_pipeline(
                    shipped_config("tiny/pipeline.yaml"), {"pretrain.data.path=trian.h5"}, "");
              }),
              HasSubstr("trian.h5 does not exist"));
}

TEST(EmptyValue, ClearsASectionOrAList) {
  const TrainConfig config = load_config(
      kFootage, {"data.make={}", "data.make_validation={}", "sample.prompts=[]", "sample.every=0"});
  EXPECT_EQ(config.data.make, data::MakeConfig{});
  EXPECT_FALSE(config.data.make.makes_something());
  EXPECT_TRUE(config.sample.prompts.empty());
  // Cleared, then filled again.
  const TrainConfig other = load_config(
      kFootage, {"data.make={}", "data.make.prompts=moving_shapes", "data.make_validation={}"});
  EXPECT_EQ(other.data.make.prompts, "moving_shapes");
  EXPECT_TRUE(other.data.make.videos.empty());
}

TEST(ForeignYaml, BytesThatAreNoTextAreFoundAtOnce) {
  const TemporaryFolder folder;
  const auto file = folder.write("x.yaml", "stage: one\nsample: {negative_prompt: \"a\xff\"}\n");
  EXPECT_THAT(problem(file, {}), AllOf(HasSubstr("x.yaml:2: byte 0xff"), HasSubstr("UTF-8")));
  EXPECT_THAT(problem(kFootage, {"sample.negative_prompt=\xff"}), HasSubstr("byte 0xff"));
}

TEST(ForeignYaml, KeysAndAliasesTakeNoTime) {
  const auto start = std::chrono::steady_clock::now();
  const TemporaryFolder folder;
  std::string many = "stage: one\nmodel:\n";
  for (int i = 0; i < 200'000; ++i) many += "  k" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(problem(folder.write("many.yaml", many), {}), HasSubstr("unknown key model.k0"));
  std::string bomb = "stage: &a0 [1, 1]\n";
  for (int i = 1; i < 16; ++i) {
    const std::string old = "*a" + std::to_string(i - 1), name = std::to_string(i);
    bomb += "k" + name + ": &a" + name + " [" + old + ", " + old + ", " + old + ", " + old + "]\n";
  }
  EXPECT_THAT(problem(folder.write("bomb.yaml", bomb), {}), HasSubstr("aliases"));
  EXPECT_THAT(problem(kFootage, {"data=" + std::string(100'000, '[')}), StartsWith("--set data="));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(WrongKind, APipelineIsNoStageAndTheOtherWayRound) {
  const auto pipeline = shipped_config("tiny/pipeline.yaml");
  EXPECT_THAT(problem(pipeline, {}), AllOf(HasSubstr("is a pipeline"), HasSubstr("vmla pipeline")));
  EXPECT_THAT(message_of<UserError>([] { load_pipeline(kFootage, {}, ""); }),
              AllOf(HasSubstr("is one stage"), HasSubstr("vmla train")));
}

TEST(IgnoredKey, HeldWeightsNeedWeightsThatAreCut) {
  EXPECT_THAT(problem(kFootage, {"distributed.hold_weights=true"}),
              AllOf(HasSubstr("distributed.hold_weights: true"), HasSubstr("full, hybrid")));
  EXPECT_NO_THROW(
      load_config(kFootage, {"distributed.hold_weights=true", "distributed.sharding=full"}));
}

TEST(ScheduleSteps, AreARuleOfTheirOwn) {
  EXPECT_NO_THROW(load_config(kFootage, {"optimizer.schedule_steps=50"}));
  EXPECT_THAT(problem(kFootage, {"optimizer.schedule_steps=-1"}),
              HasSubstr("optimizer.schedule_steps"));
  EXPECT_THAT(problem(kFootage, {"optimizer.schedule_steps=5", "optimizer.warmup_steps=6"}),
              HasSubstr("longer than the schedule"));
}

}  // namespace
}  // namespace vmla::trainer
