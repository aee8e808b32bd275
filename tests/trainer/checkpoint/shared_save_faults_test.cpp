// Several writers of one checkpoint of which some fail, disagree, do not come or are killed.
// Writers are threads, and where one is killed, processes.

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "model/io/error.h"
#include "tests/trainer/checkpoint/checkpoint_writers.h"
#include "trainer/checkpoint/checkpoint_folder.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using SharedSaveFaults = SavedRun;

enum class Fault { kFullDisk, kError, kShort };

/// The k-th operation of all writers together fails; a full disk stays full for that writer.
void inject(Fault fault, int k) {
  io::set_fault_hook([fault, k, count = 0, full = std::thread::id()](std::string_view operation,
                                                                     const fs::path&) mutable {
    const bool is_kth = count++ == k;
    if (fault == Fault::kFullDisk) {
      if (is_kth) full = std::this_thread::get_id();
      return full == std::this_thread::get_id() && (is_kth || operation == "write") ? ENOSPC : 0;
    }
    if (!is_kth) return 0;
    return fault == Fault::kShort && operation == "write" ? io::kShortWrite : EIO;
  });
}

class SharedFault : public SavedRun, public testing::WithParamInterface<Fault> {};

TEST_P(SharedFault, AtAnyOperationLeavesTheLastGoodCheckpoint) {
  constexpr int64_t kRanks = 3;
  const model::ModelConfig model = small_model("dense");
  // Two tensors a role are enough; every operation of a save then comes up.
  const auto share = [&](int64_t step, int64_t rank) {
    const at::Tensor w = at::arange(7, at::kFloat) + static_cast<double>(step);
    const PieceMap pieces = {
        {"w", {{7}, rank * 3, w.narrow(0, rank * 3, std::min<int64_t>(3, 7 - rank * 3)).clone()}}};
    return share_of(model, step, {{"generator", pieces}, {"generator_ema", pieces}});
  };
  const auto save = [&](int64_t step, int64_t serial) {
    return on_ranks(kRanks, [&](int64_t rank) {
      save_checkpoint(checkpoints_, share(step, rank), place_of(rank, kRanks, serial));
    });
  };
  const auto expect_intact = [&](const fs::path& path, int64_t step) {
    const CheckpointData data = load_checkpoint(path);
    EXPECT_EQ(data.step, step);
    EXPECT_TRUE(at::equal(data.roles.at("generator_ema").at("w"),
                          at::arange(7, at::kFloat) + static_cast<double>(step)));
  };
  int failures = 0;
  expect_none(save(1, 0));
  for (int k = 0;; ++k) {
    inject(GetParam(), k);
    const auto problems = save(2, k + 1);
    io::set_fault_hook(nullptr);
    const auto failed = std::ranges::count_if(problems, [](const auto& p) { return p != nullptr; });
    if (failed == 0) break;
    ++failures;
    // As one: it failed for all, and exactly one says why.
    EXPECT_EQ(failed, kRanks) << k;
    int64_t causes = 0;
    for (const auto& problem : problems) {
      if (!problem) continue;
      EXPECT_EQ(text_of(problem).find('\n'), std::string::npos);
      if (is_elsewhere(problem)) continue;
      ++causes;
      EXPECT_THAT(text_of(problem), HasSubstr(checkpoints_.string()));
      const std::string said = text_of(problem);
      EXPECT_TRUE(said.find("Input/output error") != said.npos ||
                  (GetParam() != Fault::kError && said.find("No space left") != said.npos))
          << said;
    }
    EXPECT_EQ(causes, 1) << k;
    expect_intact(checkpoints_ / "step_1", 1);
    const int64_t latest = load_checkpoint(run_).step;
    EXPECT_TRUE(latest == 1 || latest == 2);
    expect_intact(run_, latest);
    for (const fs::path& folder : list_checkpoints(checkpoints_)) load_checkpoint(folder);
    // The next start tidies up.
    io::remove_abandoned_saves(checkpoints_, "run-1");
    EXPECT_TRUE(left_over().empty()) << k;
    io::publish_symlink(checkpoints_ / "latest", "step_1");
    if (fs::exists(checkpoints_ / "step_2")) io::remove_folder(checkpoints_ / "step_2");
  }
  // Of each writer: its entry, two files of a header and a tensor, two flushes, what it wrote and
  // the renaming of that; of the first the manifest, three flushes, two renames.
  EXPECT_GE(failures, 3 * 9 + 6);
  expect_intact(run_, 2);
}

std::string fault_name(const testing::TestParamInfo<Fault>& fault) {
  constexpr const char* kNames[] = {"FullDisk", "Error", "ShortWrite"};
  return kNames[static_cast<int>(fault.param)];
}
INSTANTIATE_TEST_SUITE_P(All,
                         SharedFault,
                         testing::Values(Fault::kFullDisk, Fault::kError, Fault::kShort),
                         fault_name);

TEST_F(SharedSaveFaults, WritersThatDisagreeSaveNothing) {
  const model::ModelConfig model = small_model("dense");
  const auto problems = on_ranks(2, [&](int64_t rank) {
    // Element 3 is nobody's.
    const PieceMap pieces = {{"w", {{7}, rank * 4, at::zeros({3})}}};
    save_checkpoint(
        checkpoints_, share_of(model, 1, {{"generator", pieces}}), place_of(rank, 2, 0));
  });
  ASSERT_TRUE(problems[0] && problems[1]);
  EXPECT_THAT(text_of(problems[0]), HasSubstr("lacks elements 3 to 3"));
  EXPECT_TRUE(is_elsewhere(problems[1]));
  EXPECT_TRUE(list_checkpoints(checkpoints_).empty());
}

TEST_F(SharedSaveFaults, AWriterThatNeverComesIsNamed) {
  const model::ModelConfig model = small_model("dense");
  const auto problems = on_ranks(4, [&](int64_t rank) {
    if (rank == 1 || rank == 3) return;
    const FlatState state = drawn_state(model, 1, rank, 4);
    save_checkpoint(checkpoints_,
                    share_of(model, 1, pieces_of(model, state, rank, 4)),
                    place_of(rank, 4, 0, 0.2));
  });
  ASSERT_TRUE(problems[0] && problems[2]);
  EXPECT_THAT(text_of(problems[0]), HasSubstr("writers 1, 3 did not finish within 0.2 s"));
  EXPECT_TRUE(is_elsewhere(problems[2]));
  EXPECT_THAT(text_of(problems[2]), HasSubstr("writers 1, 3 did not finish"));
}

TEST_F(SharedSaveFaults, ACallerThatKnowsMoreEndsTheWait) {
  const model::ModelConfig model = small_model("dense");
  std::atomic<bool> cancelled = false;
  const auto problems = on_ranks(3, [&](int64_t rank) {
    if (rank == 2) {  // it never saves
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      cancelled = true;
      return;
    }
    const FlatState state = drawn_state(model, 1, rank, 3);
    save_checkpoint(checkpoints_,
                    share_of(model, 1, pieces_of(model, state, rank, 3)),
                    place_of(rank, 3, 0, 3600),
                    &cancelled);
  });
  ASSERT_TRUE(problems[0] && problems[1]);
  EXPECT_TRUE(is_elsewhere(problems[0]) && is_elsewhere(problems[1]));
}

/// Exit statuses of a writer that is a process.
constexpr int kSaved = 0, kElsewhere = 4, kCause = 5;

pid_t fork_writer(const fs::path& checkpoints,
                  const model::ModelConfig& model,
                  int64_t step,
                  int64_t rank,
                  int64_t serial) {
  const pid_t child = fork();
  if (child != 0) return child;
  int status = kSaved;
  try {
    io::set_fault_hook([](std::string_view operation, const fs::path&) {
      if (operation == "write") usleep(1500);  // a slow disk: some 80 ms for all of it
      return 0;
    });
    const FlatState state = drawn_state(model, step, rank, 3);
    save_checkpoint(checkpoints,
                    share_of(model, step, pieces_of(model, state, rank, 3)),
                    place_of(rank, 3, serial, 0.6));
  } catch (const io::SaveFailedElsewhere&) {
    status = kElsewhere;
  } catch (const RunError&) {
    status = kCause;
  }
  _exit(status);
}

TEST_F(SharedSaveFaults, AWriterThatIsKilledLeavesTheLastGoodCheckpoint) {
  const model::ModelConfig model = small_model("mla");
  expect_none(save_drawn(checkpoints_, model, 1, 3, 0));
  std::mt19937 random(5);
  int failed = 0;
  int64_t good = 1;
  for (int64_t round = 0; round < 8; ++round) {
    const int64_t step = round + 2;
    std::vector<pid_t> writers;
    for (int64_t rank = 0; rank < 3; ++rank) {
      writers.push_back(fork_writer(checkpoints_, model, step, rank, step));
      ASSERT_GT(writers.back(), 0);
    }
    const size_t victim = static_cast<size_t>(round) % 3;
    usleep(2000 + random() % 150'000);
    kill(writers[victim], SIGKILL);
    std::vector<int> ended(3);
    for (size_t rank = 0; rank < 3; ++rank) {
      int status = 0;
      waitpid(writers[rank], &status, 0);
      ended[rank] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    // Killed before or after the commit; in between never.
    const CheckpointData left = load_checkpoint(run_);
    EXPECT_TRUE(left.step == good || left.step == step);
    for (size_t rank = 0; rank < 3; ++rank) {
      if (rank == victim) continue;
      if (ended[rank] == kSaved) {
        EXPECT_EQ(left.step, step);
      }
      // Whose time is up says so; if that is writer 0, the other knows from it.
      if (victim != 0 && ended[rank] != kSaved) {
        EXPECT_EQ(ended[rank], rank == 0 ? kCause : kElsewhere);
      }
      failed += ended[rank] != kSaved;
    }
    good = left.step;
    for (int64_t rank = 0; rank < 2; ++rank)
      expect_drawn(read_state(run_, model, rank, 2), model, good, rank, 2);
    io::remove_abandoned_saves(checkpoints_, "run-1");
    EXPECT_TRUE(left_over().empty());
  }
  EXPECT_GT(failed, 0);
}

TEST_F(SharedSaveFaults, OnlyOtherAttemptsAreTidiedUp) {
  for (const char* name : {".saving-run-0+3", ".saving-run-01+3", ".saving-x+0", "step_3"})
    fs::create_directories(checkpoints_ / name / "step_4");
  io::remove_abandoned_saves(checkpoints_, "run-0");
  EXPECT_EQ(left_over(), std::vector<std::string>{".saving-run-0+3"});
  io::remove_abandoned_saves(checkpoints_, "");
  EXPECT_TRUE(left_over().empty());
  EXPECT_TRUE(fs::exists(checkpoints_ / "step_3"));
}

}  // namespace
}  // namespace vmla::trainer
