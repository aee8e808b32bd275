#include "trainer/pipeline/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_yaml.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;
using testing::TemporaryFolder;

TEST(RunFolder, IsCreatedLockedAndReleased) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "deep/run";
  {
    RunFolder run(path, RunFolder::Kind::kStage);
    EXPECT_THAT(message_of<UserError>([&] { RunFolder(path, RunFolder::Kind::kStage); }),
                AllOf(StartsWith(path.string() + ": in use by process " + std::to_string(getpid()) +
                                 " on "),
                      HasSubstr("choose another folder")));
    EXPECT_FALSE(fs::exists(path / "config.yaml"));
    TrainConfig config;
    config.seed = 5;
    run.begin(config);
    EXPECT_EQ(parse_resolved(io::read_text_file(path / "config.yaml"), "config.yaml"), config);
  }
  EXPECT_NO_THROW(RunFolder(path, RunFolder::Kind::kStage));
}

// What a run writes from then on would be lost, or make a folder that looks like a finished run.
TEST(RunFolder, NoticesThatItIsGone) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "run", elsewhere = folder.path() / "moved";
  RunFolder run(path, RunFolder::Kind::kStage);
  EXPECT_NO_THROW(run.expect_in_place());
  run.begin(TrainConfig());
  EXPECT_NO_THROW(run.expect_in_place());
  const auto expect_fault = [&](const std::string& what) {
    EXPECT_THAT(message_of<RunError>([&] { run.expect_in_place(); }),
                AllOf(StartsWith(path.string()), HasSubstr(what)));
  };
  fs::rename(path, elsewhere);
  expect_fault("removed, moved or replaced");
  fs::create_directory(path);  // another one
  expect_fault("removed, moved or replaced");
  fs::remove(path);
  fs::rename(elsewhere, path);
  EXPECT_NO_THROW(run.expect_in_place());
  fs::remove(path / "config.yaml");
  expect_fault("config.yaml was removed");
  fs::remove_all(path);
  expect_fault("removed, moved or replaced");
}

TEST(RunFolder, LeavesAFolderAloneThatTookItsPlace) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "run";
  {
    RunFolder run(path, RunFolder::Kind::kStage);
    fs::rename(path, folder.path() / "moved");
    fs::create_directory(path);
  }
  EXPECT_TRUE(fs::exists(path));
}

TEST(RunFolder, RefusesWhatIsNoRun) {
  const TemporaryFolder folder;
  folder.write("photos/a.jpg", "x");
  EXPECT_EQ(
      message_of<UserError>([&] { RunFolder(folder.path() / "photos", RunFolder::Kind::kStage); }),
      (folder.path() / "photos").string() +
          ": holds a.jpg and is no run folder; choose an empty or new --run-dir");
  EXPECT_FALSE(fs::exists(folder.path() / "photos/run.lock"));
  const fs::path file = folder.write("file", "x");
  EXPECT_THAT(message_of<UserError>([&] { RunFolder(file, RunFolder::Kind::kStage); }),
              HasSubstr("is a file"));
  EXPECT_THAT(message_of<UserError>([&] { RunFolder(file / "below", RunFolder::Kind::kStage); }),
              HasSubstr("cannot create the run folder"));
  folder.write("stage/config.yaml", "stage: x\n");
  folder.write("pipe/pipeline.yaml", "name: x\n");
  EXPECT_THAT(message_of<UserError>(
                  [&] { RunFolder(folder.path() / "stage", RunFolder::Kind::kPipeline); }),
              HasSubstr("run folder of a single stage"));
  EXPECT_THAT(
      message_of<UserError>([&] { RunFolder(folder.path() / "pipe", RunFolder::Kind::kStage); }),
      HasSubstr("run folder of a pipeline"));
}

TEST(RunFolder, BeginningMakesAFinishedStageUnfinished) {
  const TemporaryFolder folder;
  TrainConfig config;
  RunFolder run(folder.path() / "r", RunFolder::Kind::kStage);
  run.begin(config);
  EXPECT_FALSE(is_finished(run.path(), config));
  folder.write("r/summary.json", "{}");
  EXPECT_TRUE(is_finished(run.path(), config));
  TrainConfig other = config;
  other.train.threads = 3;
  EXPECT_TRUE(is_finished(run.path(), other));
  other.train.steps += 1;
  EXPECT_FALSE(is_finished(run.path(), other));
  run.begin(other);
  EXPECT_FALSE(is_finished(run.path(), other));
}

}  // namespace
}  // namespace vmla::trainer
