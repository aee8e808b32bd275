#include "trainer/checkpoint/save_checkpoint.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "model/io/error.h"
#include "tests/trainer/checkpoint/saved_run.h"
#include "trainer/checkpoint/checkpoint_folder.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using SaveCheckpoint = SavedRun;

TEST_F(SaveCheckpoint, EveryFaultLeavesTheLastGoodCheckpoint) {
  const CheckpointData good = example_checkpoint(1);
  int failures = 0;
  for (int k = 0;; ++k) {
    fs::remove_all(checkpoints_);
    save_whole(checkpoints_, good);
    io::set_fault_hook([k, count = 0](std::string_view, const fs::path&) mutable {
      return count++ == k ? ENOSPC : 0;
    });
    const std::string message =
        message_of<RunError>([&] { save_whole(checkpoints_, example_checkpoint(2)); });
    io::set_fault_hook(nullptr);
    if (message.empty()) break;
    ++failures;
    EXPECT_THAT(message, HasSubstr("No space left on device"));
    EXPECT_THAT(message, HasSubstr(checkpoints_.string()));
    // `latest` names a whole checkpoint: the old one, or the new one if only its last flush failed.
    const CheckpointData left = load_checkpoint(run_);
    EXPECT_TRUE(left.step == 1 || left.step == 2);
    if (left.step == 1) expect_equal(good, left);
    expect_equal(good, load_checkpoint(checkpoints_ / "step_1"));
    for (const fs::path& folder : list_checkpoints(checkpoints_))
      EXPECT_EQ(load_problem(folder), "");
    for (const auto& entry : fs::directory_iterator(checkpoints_)) {
      EXPECT_FALSE(entry.path().filename().string().starts_with(".tmp-")) << k;
    }
  }
  // 4 role files of a header and up to 3 tensors with data, the manifest; flushes; two renames.
  EXPECT_GT(failures, 15);
  EXPECT_EQ(load_checkpoint(run_).step, 2);
}

TEST_F(SaveCheckpoint, KilledAtAnyMomentItGoesOn) {
  save_whole(checkpoints_, example_checkpoint(0));
  std::mt19937 random(11);
  int64_t furthest = 0;
  for (int round = 0; round < 20; ++round) {
    const int64_t start = load_checkpoint(run_).step;
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (int64_t step = start + 1;; ++step) {
          save_whole(checkpoints_, example_checkpoint(step));
          prune_checkpoints(checkpoints_, {.keep_last = 2, .keep_every = 0});
        }
      } catch (...) {
        _exit(1);
      }
    }
    usleep(5'000 + random() % 60'000);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));  // not an error of its own
    const CheckpointData left = load_checkpoint(run_);
    EXPECT_GE(left.step, start);
    EXPECT_EQ(left.counters.at("samples_seen"), left.step * 16);
    EXPECT_TRUE(newest_intact_checkpoint(checkpoints_, nullptr).has_value());
    furthest = left.step;
  }
  EXPECT_GT(furthest, 0);
  save_whole(checkpoints_, example_checkpoint(furthest + 1));
  for (const auto& entry : fs::directory_iterator(checkpoints_)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".tmp-"));
  }
}

}  // namespace
}  // namespace vmla::trainer
