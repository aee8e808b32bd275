#include "data/make_dataset.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/store/latent_dataset.h"
#include "data/synth/moving_shapes.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(MakeDataset, IsMadeOnceEvenByTwoProcesses) {
  const TemporaryFolder folder;
  MakeConfig config;
  config.synth_count = 12;
  config.held_out = true;
  const fs::path path = folder / "cache/held_out.h5";
  const pid_t child = fork();
  if (child == 0) {
    make_dataset(config, path);
    _exit(0);
  }
  make_dataset(config, path);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  const LatentDataset dataset(path);
  EXPECT_EQ(dataset.size(), 12);
  for (int64_t i = 0; i < 12; ++i) EXPECT_TRUE(is_held_out(*parse_caption(dataset.caption(i))));
  const auto time = fs::last_write_time(path);
  make_dataset(config, path);
  EXPECT_EQ(fs::last_write_time(path), time);
  config.frames = 5;
  EXPECT_NE(error_of<UserError>([&] { make_dataset(config, path); }).find("make.frames"),
            std::string::npos);
  EXPECT_THROW(make_dataset(MakeConfig(), folder / "nothing.h5"), UserError);
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
