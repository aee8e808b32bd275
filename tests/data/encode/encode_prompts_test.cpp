#include "data/encode/encode_prompts.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "data/encode/clips_of_codec.h"
#include "data/inspect/inspect_dataset.h"
#include "data/loading/prefetch_loader.h"
#include "data/loading/shard_sampler.h"
#include "data/store/latent_dataset.h"
#include "model/codec/text_encoder.h"
#include "model/io/error.h"
#include "tests/data/encode/killed_job.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

PromptsOptions options_for(const fs::path& out, std::vector<std::string> prompts) {
  PromptsOptions options;
  options.prompts = std::move(prompts);
  options.out = out;
  return options;
}

TEST(PromptSet, IsADatasetWithoutLatents) {
  const TemporaryFolder folder;
  const std::vector<std::string> prompts = {"a red circle", "", "ünï код", "a red circle"};
  const PromptsReport report = encode_prompts(options_for(folder / "p.h5", prompts));
  EXPECT_EQ(report.prompts, 4);
  EXPECT_FALSE(fs::exists(folder / "p.h5.parts"));
  EXPECT_FALSE(fs::exists(folder / "p.h5.lock"));
  const LatentDataset dataset(folder / "p.h5");
  ASSERT_EQ(dataset.size(), 4);
  EXPECT_FALSE(dataset.has_latents());
  EXPECT_FALSE(dataset.has_ode());
  EXPECT_TRUE(dataset.info().codec.empty());
  EXPECT_TRUE(dataset.info().clip_shape.empty());
  EXPECT_EQ(dataset.info().text_encoder, "hashing:32x8");
  const auto text = model::make_text_encoder("hashing:32x8");
  for (int64_t i = 0; i < 4; ++i) {
    const std::string& prompt = prompts[static_cast<size_t>(i)];
    EXPECT_EQ(dataset.caption(i), prompt);
    EXPECT_TRUE(at::equal(dataset.text(i), text->encode(prompt)));
  }
  EXPECT_TRUE(at::equal(dataset.empty_text(), text->encode("")));
  EXPECT_NE(inspect_dataset(LatentDataset(folder / "p.h5"), "p.h5", true).text.find("4 prompts"),
            std::string::npos);
  EXPECT_THROW(contact_sheet(LatentDataset(folder / "p.h5"), "p.h5"), UserError);

  const ShardSampler sampler(1, 4);
  PrefetchLoader loader(dataset, sampler, {.global_batch = 2, .micro_batch = 2});
  for (int step = 0; step < 4; ++step) {
    const Batch batch = loader.next();
    EXPECT_FALSE(batch.latents.defined());
    EXPECT_FALSE(batch.ode_states.defined());
    EXPECT_EQ(batch.text.sizes(), (at::IntArrayRef{2, dataset.max_text_rows(), 32}));
    EXPECT_EQ(batch.captions[0], prompts[static_cast<size_t>(batch.indices[0])]);
  }
}

TEST(PromptSet, SaysWhatClipsItIsFor) {
  const TemporaryFolder folder;
  PromptsOptions options = options_for(folder / "p.h5", {"a"});
  options.clips =
      clips_of_codec("space_to_depth:2", {.frames = 9, .height = 16, .width = 24, .fps = 8});
  encode_prompts(options);
  const LatentDataset dataset(folder / "p.h5");
  EXPECT_FALSE(dataset.has_latents());
  EXPECT_EQ(dataset.info().codec, "space_to_depth:2");
  EXPECT_EQ(dataset.info().clip_shape, (std::vector<int64_t>{9, 12, 8, 12}));
  EXPECT_EQ(dataset.info().pixel_frames, 9);
  EXPECT_EQ(dataset.info().fps, 8);
  EXPECT_NE(
      inspect_dataset(LatentDataset(folder / "p.h5"), "p.h5", true).text.find("[9, 12, 8, 12]"),
      std::string::npos);
  EXPECT_THROW(
      clips_of_codec("space_to_depth:2", {.frames = 9, .height = 15, .width = 16, .fps = 8}),
      UserError);
  // A folder of prompts that are for different clips is no dataset.
  fs::create_directory(folder / "set");
  fs::rename(folder / "p.h5", folder / "set/a.h5");
  encode_prompts(options_for(folder / "set/b.h5", {"b"}));
  EXPECT_NE(error_of<UserError>([&] { LatentDataset(folder / "set"); }).find("clip shape"),
            std::string::npos);
}

TEST(PromptSet, WhatIsThereIsNotLost) {
  const TemporaryFolder folder;
  write_bytes(folder / "p.h5", "mine");
  PromptsOptions options = options_for(folder / "p.h5", {"a"});
  EXPECT_THROW(encode_prompts(options), UserError);
  EXPECT_THROW(encode_prompts(options_for(folder / "q.h5", {})), UserError);
  EXPECT_EQ(file_bytes(folder / "p.h5"), "mine");
  options.overwrite = true;
  encode_prompts(options);
  EXPECT_EQ(LatentDataset(folder / "p.h5").size(), 1);
}

TEST(PromptSet, KilledAndResumedIsUninterruptedByteForByte) {
  const TemporaryFolder folder;
  std::vector<std::string> prompts;
  for (int i = 0; i < 300; ++i) prompts.push_back(formatted("prompt number {}", i));
  encode_prompts(options_for(folder / "whole.h5", prompts));
  PromptsOptions options = options_for(folder / "killed.h5", prompts);
  options.part_seconds = 0;  // a part a prompt
  ASSERT_TRUE(kill_after_six_parts(options.out, [&] { encode_prompts(options); }));
  {
    PromptsOptions other = options;
    other.prompts[250] += "!";
    EXPECT_NE(error_of<UserError>([&] { encode_prompts(other); }).find("other inputs or settings"),
              std::string::npos);
  }
  options.part_seconds = 15;
  const PromptsReport report = encode_prompts(options);
  EXPECT_GE(report.resumed, 5);
  EXPECT_LT(report.resumed, 300);
  EXPECT_TRUE(file_bytes(folder / "killed.h5") == file_bytes(folder / "whole.h5"));
}

}  // namespace
}  // namespace vmla::data
