// The run folders of cells, and what a second start says of a changed file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/trainer/sweep/sweep_case.h"
#include "trainer/pipeline/pipeline_config.h"
#include "trainer/sweep/sweep_folder.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;

class SweepFolders : public testing::SweepCase {
 protected:
  SweepPlan two_ranks() {
    return plan(read("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4, 8]\n"));
  }
};

TEST_F(SweepFolders, ACellIsAPipelinesFolderOfLinks) {
  const SweepPlan runs = two_ranks();
  make_run_folders(runs, false);
  const fs::path cell = run_dir() / "cells/kv_lora_rank=4/seed_0";
  EXPECT_EQ(fs::read_symlink(cell / "zero"), "../../../stages/" + runs.runs[0].shared[0]);
  EXPECT_EQ(fs::read_symlink(cell / "tf"), "../../../stages/" + runs.runs[0].shared[1]);
  // What stands there is a pipeline that can be run by itself.
  const PipelineConfig again = load_pipeline(cell / "pipeline.yaml", {}, cell);
  EXPECT_EQ(again.stages[1].config, runs.runs[0].pipeline.stages[1].config);
}

TEST_F(SweepFolders, LinksLeadToAFolderOfStagesThatSweepsShare) {
  const std::string shared = (folder_.path() / "shared").string();
  const SweepPlan runs = plan(read("seeds: [0]\nstages_dir: " + shared));
  make_run_folders(runs, false);
  EXPECT_EQ(runs.stages.stages[0].run_dir, fs::path(shared) / runs.runs[0].shared[0]);
  EXPECT_EQ(runs.stages.stages[1].config.init_from.at("generator").path,
            fs::path(shared) / runs.runs[0].shared[0]);
  EXPECT_EQ(fs::read_symlink(run_dir() / "cells/base/seed_0/zero"),
            "../../../../shared/" + runs.runs[0].shared[0]);
  EXPECT_THAT(error("seeds: [0]\nstages_dir: ''"), HasSubstr("stages_dir: is empty"));
}

TEST_F(SweepFolders, OtherStagesMakeWhatIsBasedOnThemOutdated) {
  make_run_folders(two_ranks(), false);
  const fs::path cell = run_dir() / "cells/kv_lora_rank=4/seed_0";
  std::ofstream(cell / "summary.json") << "{}";
  make_run_folders(two_ranks(), false);
  EXPECT_TRUE(fs::exists(cell / "summary.json"));
  const SweepPlan longer =
      plan(read("seeds: [0]\nset: {tf.train.steps: 77}\ngrid:\n  tf.model.kv_lora_rank: [4, 8]\n"));
  make_run_folders(longer, false);
  EXPECT_FALSE(fs::exists(cell / "summary.json"));
  EXPECT_EQ(fs::read_symlink(cell / "tf"), "../../../stages/" + longer.runs[0].shared[1]);
}

TEST_F(SweepFolders, NothingThatIsNoLinkIsReplaced) {
  fs::create_directories(run_dir() / "cells/kv_lora_rank=4/seed_0/tf");
  EXPECT_THAT(message_of<UserError>([&] { make_run_folders(two_ranks(), false); }),
              HasSubstr("is no link to a stage of the sweep"));
}

TEST_F(SweepFolders, ASecondStartSaysWhatIsNew) {
  const SweepRuns before = runs_of(two_ranks(), run_dir());
  folder_.write("run/sweep.yaml", sweep_yaml("s", before));
  EXPECT_EQ(earlier_runs(run_dir()), before);
  EXPECT_THAT(changes_since(before, before), IsEmpty());
  EXPECT_THAT(changes_since({}, before), IsEmpty());
  const SweepRuns now = runs_of(
      plan(
          read("seeds: [0]\nset: {tf.train.steps: 77}\ngrid:\n  tf.model.kv_lora_rank: [4, 12]\n")),
      run_dir());
  EXPECT_THAT(changes_since(before, now),
              ElementsAre(HasSubstr("1 run (cells/kv_lora_rank=12/seed_0) new"),
                          HasSubstr("1 run (cells/kv_lora_rank=4/seed_0) with other settings"),
                          HasSubstr("1 run (cells/kv_lora_rank=8/seed_0) no longer in the file")));
}

}  // namespace
}  // namespace vmla::trainer
