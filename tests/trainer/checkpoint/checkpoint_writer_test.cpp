#include "trainer/checkpoint/checkpoint_writer.h"

#include <gmock/gmock.h>

#include <condition_variable>
#include <fstream>
#include <mutex>

#include "model/io/error.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/checkpoint/checkpoint_writers.h"
#include "trainer/telemetry/tensor_memory.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using BackgroundSave = SavedRun;

/// A disk that does nothing until it is opened.
class Gate {
 public:
  Gate() {
    io::set_fault_hook([this](std::string_view, const fs::path&) {
      std::unique_lock lock(mutex_);
      ++waiting_;
      opened_.wait(lock, [this] { return open_; });
      return 0;
    });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  int arrived() {
    const std::lock_guard lock(mutex_);
    return waiting_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
  int waiting_ = 0;
};

CheckpointShare share_with(int64_t step, const at::Tensor& weight) {
  CheckpointShare share;
  share.step = step;
  share.stage = "pretrain";
  share.model = small_model("dense");
  share.roles["generator"] = whole_pieces({{"w", weight}});
  return share;
}

at::Tensor saved_weight(const fs::path& path) {
  return load_checkpoint(path).roles.at("generator").at("w").clone();
}

TEST_F(BackgroundSave, LaterUpdatesDoNotShow) {
  const at::Tensor weight = at::arange(1 << 16, at::kFloat);
  const at::Tensor at_step_1 = weight.clone();
  Gate disk;
  CheckpointWriter saver(checkpoints_, {}, {.keep_last = 5, .keep_every = 0});
  saver.begin(share_with(1, weight));
  saver.before_update();
  weight.add_(1);  // the disk has not taken a byte yet
  EXPECT_TRUE(list_checkpoints(checkpoints_).empty());
  disk.open();
  saver.finish();
  EXPECT_TRUE(tests::same_bits(saved_weight(run_), at_step_1));
  // The next one goes through the same block of memory, and may be larger.
  const at::Tensor larger = at::arange(1 << 18, at::kFloat);
  saver.begin(share_with(2, larger));
  saver.before_update();
  larger.zero_();
  saver.begin(share_with(3, weight));
  saver.finish();
  EXPECT_EQ(saved_weight(checkpoints_ / "step_2")[70].item<float>(), 70);
  EXPECT_TRUE(tests::same_bits(saved_weight(run_), weight));
}

TEST_F(BackgroundSave, TheStepWaitsForTheCopyAndNotForTheDisk) {
  Gate disk;
  CheckpointWriter saver(checkpoints_, {}, {});
  saver.begin(share_with(1, at::zeros({1 << 16})));
  saver.before_update();
  saver.before_update();                                  // as often as one likes
  while (disk.arrived() == 0) std::this_thread::yield();  // the disk blocks; the steps go on
  disk.open();
  saver.finish();
  const double waited = saver.take_waited_seconds();
  EXPECT_GT(waited, 0);
  EXPECT_EQ(saver.take_waited_seconds(), 0);
  saver.before_update();
  saver.finish();
  EXPECT_EQ(saver.take_waited_seconds(), 0);  // nothing to wait for
}

TEST_F(BackgroundSave, TheCopyIsNotAmongTheTensorsThatAreCounted) {
  count_tensor_bytes();
  const at::Tensor weight = at::ones({1 << 18});
  CheckpointWriter saver(checkpoints_, {}, {});
  reset_tensor_peak(at::kCPU);
  const int64_t before = tensor_bytes(at::kCPU).live;
  saver.begin(share_with(1, weight));
  saver.finish();
  // Less than 1 % of the state: nothing but what is smaller than any tensor of it.
  EXPECT_LT(tensor_bytes(at::kCPU).peak - before, (4 << 18) / 100);
}

TEST_F(BackgroundSave, AFailureIsSaidOnceAndTheLastCheckpointStays) {
  const at::Tensor weight = at::ones({100});
  CheckpointWriter saver(checkpoints_, {}, {.keep_last = 5, .keep_every = 0});
  saver.begin(share_with(1, weight));
  saver.finish();
  const auto fail_next = [&](int64_t step) {
    io::set_fault_hook([](std::string_view, const fs::path&) { return ENOSPC; });
    saver.begin(share_with(step, weight));
  };
  fail_next(2);
  EXPECT_THAT(message_of<RunError>([&] { saver.finish(); }), HasSubstr("No space left on device"));
  EXPECT_EQ(message_of<RunError>([&] { saver.finish(); }), "");
  fail_next(3);
  EXPECT_THAT(message_of<RunError>([&] { saver.begin(share_with(4, weight)); }),
              HasSubstr("No space left"));
  fail_next(5);
  std::string said;
  while (said.empty())
    said = message_of<RunError>([&] { saver.before_update(); });  // as soon as it is known
  EXPECT_THAT(said, HasSubstr("step_5"));
  io::set_fault_hook(nullptr);
  EXPECT_EQ(load_checkpoint(run_).step, 1);
  saver.begin(share_with(6, weight));
  saver.finish();
  EXPECT_EQ(load_checkpoint(run_).step, 6);
}

/// Writer 1 never comes. Files would tell after ten minutes; the collective does at once.
TEST_F(BackgroundSave, ALostWriterEndsTheWait) {
  struct PeerLost {};
  int asked = 0;
  {
    CheckpointWriter saver(checkpoints_,
                           {.writer = 0, .writers = 2, .attempt = "a", .timeout_seconds = 600},
                           {},
                           [&](bool here) {
                             EXPECT_FALSE(here);
                             if (++asked == 3) throw PeerLost{};
                             return false;
                           });
    saver.begin(share_with(1, at::ones({4})));
    EXPECT_THROW(saver.finish(), PeerLost);
    saver.cancel();  // as whoever learns of a lost peer does: nothing is waited for
  }
  EXPECT_EQ(asked, 3);
  EXPECT_TRUE(list_checkpoints(checkpoints_).empty());
}

TEST_F(BackgroundSave, AFolderThatCannotBeWrittenIsNamedBeforeAnythingIsSaved) {
  fs::create_directories(run_);
  std::ofstream(run_ / "file").put('x');
  try {
    const CheckpointWriter saver(run_ / "file" / "checkpoints", {}, {});
    FAIL();
  } catch (const UserError& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("file/checkpoints: checkpoints cannot be written here"));
  }
}

TEST_F(BackgroundSave, RanksSaveTogetherAndTheFirstPrunes) {
  const model::ModelConfig model = small_model("mla");
  fs::create_directories(checkpoints_ / ".saving-killed+4" / "step_9");
  expect_none(on_ranks(3, [&](int64_t rank) {
    CheckpointWriter saver(checkpoints_,
                           {.writer = rank, .writers = 3, .attempt = "a", .timeout_seconds = 60},
                           {.keep_last = 2, .keep_every = 0});
    for (int64_t step = 1; step <= 4; ++step) {
      FlatState state = drawn_state(model, step, rank, 3);
      saver.begin(share_of(model, step, pieces_of(model, state, rank, 3)));
      saver.before_update();
      for (auto& [role, units] : state) {
        for (auto& [unit, flat] : units) flat.fill_(NAN);
      }
    }
    saver.finish();
    EXPECT_EQ(load_checkpoint(run_).step, 4);  // whoever has finished sees it
  }));
  EXPECT_EQ(list_checkpoints(checkpoints_).size(), 2u);
  EXPECT_TRUE(left_over().empty());
  const FlatState drawn = drawn_state(model, 4, 0, 1);
  const CheckpointData data = load_checkpoint(run_);
  for (const auto& [role, pieces] : pieces_of(model, drawn, 0, 1)) {
    for (const auto& [name, piece] : pieces)
      EXPECT_TRUE(tests::same_bits(data.roles.at(role).at(name), piece.data)) << name;
  }
}

}  // namespace
}  // namespace vmla::trainer
