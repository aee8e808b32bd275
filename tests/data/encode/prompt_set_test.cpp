#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "data/encode/encode_prompts.h"
#include "data/encode/prompt_file.h"
#include "data/inspect/inspect_dataset.h"
#include "data/loading/prefetch_loader.h"
#include "data/loading/shard_sampler.h"
#include "data/make_dataset.h"
#include "data/store/latent_dataset.h"
#include "data/synth/moving_shapes.h"
#include "model/codec/text_encoder.h"
#include "model/io/error.h"
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

TEST(PromptFile, ALineIsAPrompt) {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& bytes) {
    write_bytes(folder / "p.txt", bytes);
    return read_prompt_file(folder / "p.txt");
  };
  using Prompts = std::vector<std::string>;
  EXPECT_EQ(read("a\nb\n"), (Prompts{"a", "b"}));
  EXPECT_EQ(read("a\nb"), (Prompts{"a", "b"}));
  EXPECT_EQ(read("\xEF\xBB\xBF"
                 "a\r\n\r\n b \r\n"),
            (Prompts{"a", "", " b "}));
  EXPECT_EQ(read("\n"), (Prompts{""}));
  EXPECT_EQ(read("едет 移動 \xF0\x9F\x90\x84\n"), (Prompts{"едет 移動 \xF0\x9F\x90\x84"}));
}

TEST(PromptFile, BadFilesAreNamedWithThePlace) {
  const TemporaryFolder folder;
  const auto complaint = [&](const std::string& bytes) {
    write_bytes(folder / "p.txt", bytes);
    const std::string text = error_of<UserError>([&] { read_prompt_file(folder / "p.txt"); });
    EXPECT_NE(text.find("p.txt: "), std::string::npos) << text;
    return text;
  };
  const auto expect = [&](const std::string& bytes, const std::string& what) {
    const std::string text = complaint(bytes);
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  expect("", "is empty");
  expect("\xEF\xBB\xBF", "is empty");
  // Latin-1; the character before it has two bytes.
  expect("good\n\xC3\xBC r\xE9sum\xE9\n",
         "line 2, column 4 (byte 5 of the line): 0xe9 is no UTF-8");
  expect("cut \xE7\xA7", "line 1, column 5");  // ends inside a character
  expect("\xC0\xAF", "0xc0");                  // "/" in two bytes
  expect("\xE0\x80\xAF", "0xe0");              // and in three
  expect("\xF0\x80\x80\xAF", "0xf0");          // and in four
  expect("\xED\xA0\x80", "0xed");              // a surrogate
  expect("\xF4\x90\x80\x80", "0xf4");          // above U+10FFFF
  expect("\x80", "0x80");                      // starts inside a character
  expect("\xFF\xFEh\0i\0", "0xff");            // UTF-16
  expect(std::string("a\nb\0c\n", 6), "line 2, column 2 (byte 2 of the line): 0x00 is no text");
  EXPECT_NE(error_of<UserError>([&] { read_prompt_file(folder / "none.txt"); }).find("none.txt"),
            std::string::npos);
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
  EXPECT_NE(inspect_dataset(folder / "p.h5").text.find("4 prompts"), std::string::npos);
  EXPECT_THROW(write_contact_sheet(folder / "p.h5", folder / "p.png"), UserError);

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
  options.clips = clips_of_codec("space_to_depth:2", 9, 16, 24, 8);
  encode_prompts(options);
  const LatentDataset dataset(folder / "p.h5");
  EXPECT_FALSE(dataset.has_latents());
  EXPECT_EQ(dataset.info().codec, "space_to_depth:2");
  EXPECT_EQ(dataset.info().clip_shape, (std::vector<int64_t>{9, 12, 8, 12}));
  EXPECT_EQ(dataset.info().pixel_frames, 9);
  EXPECT_EQ(dataset.info().fps, 8);
  EXPECT_NE(inspect_dataset(folder / "p.h5").text.find("[9, 12, 8, 12]"), std::string::npos);
  EXPECT_THROW(clips_of_codec("space_to_depth:2", 9, 15, 16, 8), UserError);
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
  const fs::path parts = folder / "killed.h5.parts";
  const pid_t child = fork();
  if (child == 0) {
    encode_prompts(options);
    _exit(0);
  }
  const auto part_count = [&] {
    return fs::exists(parts)
               ? std::distance(fs::directory_iterator(parts), fs::directory_iterator())
               : 0;
  };
  while (part_count() < 6 && waitpid(child, nullptr, WNOHANG) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_FALSE(fs::exists(folder / "killed.h5"));
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

TEST(MakeDataset, PromptsAreMadeInAStableOrder) {
  const TemporaryFolder folder;
  MakeConfig config;
  config.prompts = MakeConfig::kMovingShapes;
  make_dataset(config, folder / "p.h5");
  const LatentDataset dataset(folder / "p.h5");
  ASSERT_EQ(dataset.size(), 60);
  EXPECT_FALSE(dataset.has_latents());
  EXPECT_EQ(dataset.info().clip_shape, (std::vector<int64_t>{9, 12, 8, 8}));
  const std::vector<Combination> wanted = combinations(false);
  for (int64_t i = 0; i < 60; ++i)
    EXPECT_EQ(dataset.caption(i), caption_of(wanted[static_cast<size_t>(i)]));
  make_dataset(config, folder / "p.h5");  // nothing to do
  config.held_out = true;
  EXPECT_NE(
      error_of<UserError>([&] { make_dataset(config, folder / "p.h5"); }).find("make.prompts"),
      std::string::npos);
  make_dataset(config, folder / "held_out.h5");
  EXPECT_EQ(LatentDataset(folder / "held_out.h5").size(), 12);
  config.prompts.clear();
  config.videos = folder / "v";
  EXPECT_NE(
      error_of<UserError>([&] { make_dataset(config, folder / "p.h5"); }).find("holds prompts"),
      std::string::npos);
  config.videos.clear();
  write_bytes(folder / "p.txt", "one\ntwo\n");
  config.prompts = folder / "p.txt";
  make_dataset(config, folder / "file.h5");
  EXPECT_EQ(LatentDataset(folder / "file.h5").caption(1), "two");
  config.frames = 5;
  EXPECT_NE(
      error_of<UserError>([&] { make_dataset(config, folder / "file.h5"); }).find("make.frames"),
      std::string::npos);
}

}  // namespace
}  // namespace vmla::data
