#include "trainer/checkpoint/checkpoint_folder.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <barrier>
#include <random>

#include "model/io/error.h"
#include "tests/trainer/checkpoint/checkpoint_writers.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using CheckpointFolder = SavedRun;

TEST_F(CheckpointFolder, PruningKeepsWhatIsAskedAndLatest) {
  for (int64_t step = 1; step <= 12; ++step) save_whole(checkpoints_, example_checkpoint(step));
  const auto removed = prune_checkpoints(checkpoints_, {.keep_last = 2, .keep_every = 5});
  EXPECT_EQ(removed.size(), 8u);
  std::vector<std::string> names;
  for (const fs::path& folder : list_checkpoints(checkpoints_))
    names.push_back(folder.filename().string());
  EXPECT_EQ(names, (std::vector<std::string>{"step_5", "step_10", "step_11", "step_12"}));
  io::publish_symlink(checkpoints_ / "latest", "step_5");
  prune_checkpoints(checkpoints_,
                    {.keep_last = 0, .keep_every = 0});  // at least one, and never the one in use
  names.clear();
  for (const fs::path& folder : list_checkpoints(checkpoints_))
    names.push_back(folder.filename().string());
  EXPECT_EQ(names, (std::vector<std::string>{"step_5", "step_12"}));
}

TEST_F(CheckpointFolder, AutomaticResumePassesOverDamage) {
  EXPECT_FALSE(newest_intact_checkpoint(checkpoints_, nullptr).has_value());
  for (int64_t step = 1; step <= 3; ++step) save_whole(checkpoints_, example_checkpoint(step));
  const fs::path damaged = checkpoints_ / "step_3" / "generator_ema.safetensors";
  std::string bytes = io::read_text_file(damaged);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_bytes(damaged, bytes);
  fs::remove(checkpoints_ / "step_2" / "manifest.json");
  // Asked for the latest, the damage is an error; only automatic resume goes further back.
  EXPECT_THAT(load_problem(run_), HasSubstr("generator_ema.safetensors"));
  std::vector<std::string> complaints;
  EXPECT_EQ(newest_intact_checkpoint(checkpoints_, &complaints), checkpoints_ / "step_1");
  ASSERT_EQ(complaints.size(), 2u);
  EXPECT_THAT(complaints[0], HasSubstr("generator_ema.safetensors"));
  EXPECT_THAT(complaints[1], HasSubstr("step_2/manifest.json"));
}

// Bits flipped, ends cut off, zeros written over and bytes put behind, at drawn places of every
// file.
TEST_F(CheckpointFolder, EveryDamageIsNoticedInOneLine) {
  const model::ModelConfig model = small_model("mla");
  expect_none(save_drawn(checkpoints_, model, 5, 2, 0));
  expect_none(save_drawn(checkpoints_, model, 5, 2, 1));
  ASSERT_EQ(load_problem(run_), "");
  const fs::path folder = fs::canonical(checkpoints_ / "latest");
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::mt19937_64 draw(1);
  constexpr int kDamages = 1740;
  for (int i = 0; i < kDamages; ++i) {
    const fs::path& file = files[static_cast<size_t>(i) % files.size()];
    const std::string whole = io::read_text_file(file);
    std::string bytes = whole;
    const size_t place = draw() % bytes.size();
    switch (draw() % 4) {
      case 0:
        bytes[place] = static_cast<char>(bytes[place] ^ (1 << draw() % 8));
        break;
      case 1:
        bytes.resize(place);
        break;
      case 2:
        bytes.replace(place, 64, std::min<size_t>(64, bytes.size() - place), '\0');
        break;
      default:
        bytes += whole.substr(place, 64);
    }
    if (bytes == whole) continue;  // zeros over zeros
    write_bytes(file, bytes);
    const std::string said = load_problem(run_);
    EXPECT_THAT(said, HasSubstr(file.filename().string())) << i;
    EXPECT_EQ(said.find('\n'), std::string::npos) << i;
    write_bytes(file, whole);
  }
  EXPECT_EQ(load_problem(run_), "");
}

TEST_F(CheckpointFolder, RanksShareTheComparisonOfHashes) {
  const model::ModelConfig model = small_model("mla");
  expect_none(save_drawn(checkpoints_, model, 5, 2, 0));
  expect_none(save_drawn(checkpoints_, model, 6, 2, 1));
  const model::CheckpointFolder folder = model::open_checkpoint(run_);
  ASSERT_EQ(folder.manifest.files.size(), 4u);
  const fs::path damaged = folder.path / "generator.optimizer.00000-of-00002.safetensors";
  const int fd = open(damaged.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(pwrite(fd, "x", 1, static_cast<off_t>(fs::file_size(damaged)) - 3), 1);
  close(fd);
  // The files in the order of their names: the damaged one is number 2.
  for (int64_t count = 1; count <= 5; ++count) {
    for (int64_t index = 0; index < count; ++index) {
      std::string said;
      try {
        model::verify_share(folder, index, count);
      } catch (const UserError& problem) {
        said = problem.what();
      }
      if (index == 2 % count) {
        EXPECT_THAT(said, HasSubstr(damaged.filename().string() + ": altered"));
      } else {
        EXPECT_EQ(said, "");
      }
    }
  }
  // Three readers look for the newest intact one. Only reader 2 has the damaged file in its share,
  // the others' list of folders is not asked for, and reader 0 can say what was wrong.
  std::barrier meet(3);
  std::string said;
  std::array<bool, 3> good{};
  expect_none(on_ranks(3, [&](int64_t rank) {
    const auto first_says = [&](const std::string& mine) {
      if (rank == 0) said = mine;
      meet.arrive_and_wait();
      std::string heard = said;
      meet.arrive_and_wait();
      return heard;
    };
    const auto all = [&](bool mine) {
      good[static_cast<size_t>(rank)] = mine;
      meet.arrive_and_wait();
      const bool each = good[0] && good[1] && good[2];
      meet.arrive_and_wait();
      return each;
    };
    std::vector<std::string> complaints;
    EXPECT_EQ(
        newest_intact_checkpoint(rank == 0 ? checkpoints_ : run_,
                                 &complaints,
                                 {.index = rank, .count = 3, .first_says = first_says, .all = all}),
        checkpoints_ / "step_5");
    ASSERT_EQ(complaints.size(), 1u);
    if (rank != 1) {
      EXPECT_THAT(complaints[0], HasSubstr(damaged.filename().string()));
    }
  }));
  fs::remove(folder.path / "generator.00001-of-00002.safetensors");
  try {
    model::open_checkpoint(run_);
    ADD_FAILURE() << "a missing shard was not noticed";
  } catch (const UserError& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("generator.00001-of-00002.safetensors: No such file"));
  }
}

}  // namespace
}  // namespace vmla::trainer
