// Checkpoints that several ranks write and any other number of them reads. Ranks are threads, and
// where one is killed, processes.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <barrier>
#include <random>
#include <set>

#include "model/formats/checkpoint_ranges.h"
#include "model/io/error.h"
#include "model/io/fault_hook.h"
#include "model/io/file_writer.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/checkpoint/checkpoint_writers.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using SharedCheckpoint = SavedRun;

std::string text_of(const std::exception_ptr& problem) {
  try {
    std::rethrow_exception(problem);
  } catch (const std::exception& error) {
    return error.what();
  }
}

bool is_elsewhere(const std::exception_ptr& problem) {
  try {
    std::rethrow_exception(problem);
  } catch (const io::SaveFailedElsewhere&) {
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::vector<std::exception_ptr> save_drawn(const fs::path& checkpoints,
                                           const model::ModelConfig& model,
                                           int64_t step,
                                           int64_t ranks,
                                           int64_t serial,
                                           double timeout_seconds = 60) {
  return on_ranks(ranks, [&](int64_t rank) {
    const FlatState state = drawn_state(model, step, rank, ranks);
    save_checkpoint(checkpoints,
                    share_of(model, step, pieces_of(model, state, rank, ranks)),
                    place_of(rank, ranks, serial, timeout_seconds));
  });
}

/// One rank's part, read by itself, over memory that shows what was left out.
FlatState read_state(const fs::path& path,
                     const model::ModelConfig& model,
                     int64_t rank,
                     int64_t ranks) {
  FlatState state = drawn_state(model, 0, rank, ranks);
  for (auto& [role, units] : state) {
    for (auto& [unit, flat] : units) flat.fill_(NAN);
  }
  model::CheckpointRanges checkpoint(model::open_checkpoint(path));
  for (const auto& [role, pieces] : pieces_of(model, state, rank, ranks))
    read_pieces(checkpoint, role, pieces);
  return state;
}

void expect_drawn(const FlatState& state,
                  const model::ModelConfig& model,
                  int64_t seed,
                  int64_t rank,
                  int64_t ranks) {
  for (const auto& [role, units] : drawn_state(model, seed, rank, ranks)) {
    for (const auto& [unit, flat] : units)
      EXPECT_TRUE(tests::same_bits(state.at(role).at(unit), flat)) << role << " unit " << unit;
  }
}

TEST_F(SharedCheckpoint, MovesBetweenAnyNumbersOfRanks) {
  const model::ModelConfig model = small_model("mla");
  expect_none(save_drawn(checkpoints_, model, 7, 4, 0));
  for (const auto& [to, step] : {std::pair<int64_t, int64_t>{1, 8}, {2, 9}, {3, 10}, {5, 11}}) {
    expect_none(on_ranks(to, [&](int64_t rank) {
      const FlatState state = read_state(run_, model, rank, to);
      expect_drawn(state, model, 7, rank, to);
      // Not before every rank has read what the others are about to replace as the latest.
      save_checkpoint(checkpoints_ / "next",
                      share_of(model, step, pieces_of(model, state, rank, to)),
                      place_of(rank, to, step));
    }));
    fs::rename(checkpoints_ / "next" / formatted("step_{}", step),
               checkpoints_ / formatted("step_{}", step));
    io::publish_symlink(checkpoints_ / "latest", formatted("step_{}", step));
    EXPECT_EQ(model::open_checkpoint(run_).manifest.step, step);
  }
  // And whole, by the reader of one process.
  const CheckpointData data = load_checkpoint(run_);
  const FlatState drawn = drawn_state(model, 7, 0, 1);
  for (const auto& [role, pieces] : pieces_of(model, drawn, 0, 1)) {
    ASSERT_EQ(data.roles.at(role).size(), pieces.size());
    for (const auto& [name, piece] : pieces)
      EXPECT_TRUE(tests::same_bits(data.roles.at(role).at(name), piece.data)) << name;
  }
  EXPECT_EQ(data.counters.at("samples_seen"), 11 * 16);
  EXPECT_EQ(data.model, model);
}

TEST_F(SharedCheckpoint, FilesAreNamedAfterTheirWritersAndNothingElseStays) {
  const model::ModelConfig model = small_model("dense");
  // Rank 1 is a replica: what it holds is written by others.
  expect_none(on_ranks(3, [&](int64_t rank) {
    const int64_t part = rank == 2 ? 1 : 0;
    const FlatState state = drawn_state(model, 5, part, 2);
    auto roles = pieces_of(model, state, part, 2);
    if (rank == 1) {
      for (auto& [role, pieces] : roles) pieces.clear();
    }
    save_checkpoint(checkpoints_, share_of(model, 5, roles), place_of(rank, 3, 0));
  }));
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(checkpoints_ / "step_5"))
    names.push_back(entry.path().filename().string());
  EXPECT_THAT(names,
              testing::UnorderedElementsAre("manifest.json",
                                            "generator.00000-of-00003.safetensors",
                                            "generator.00002-of-00003.safetensors",
                                            "generator.optimizer.00000-of-00003.safetensors",
                                            "generator.optimizer.00002-of-00003.safetensors"));
  EXPECT_TRUE(left_over().empty());
  // A whole tensor keeps its shape, a piece is 1-D.
  const auto file =
      model::read_safetensors(checkpoints_ / "step_5" / "generator.00000-of-00003.safetensors");
  const auto layout = model::unit_layout(model, 0);
  const model::FlatPart part = equal_cut(layout, 0, 2);
  EXPECT_EQ(file.tensors.at(layout.front().name).sizes(), at::IntArrayRef(layout.front().shape));
  const model::FlatPiece& cut = part.pieces.back();
  ASSERT_LT(cut.count, layout[cut.tensor].numel);
  EXPECT_EQ(file.tensors.at(layout[cut.tensor].name).sizes(), at::IntArrayRef({cut.count}));
}

/// What writer `rank` of three has of a small state whose values are exact: whole tensors, pieces,
/// and of some roles nothing.
std::map<std::string, PieceMap> fixture_roles(int64_t rank) {
  const at::Tensor ramp = at::arange(24, at::kFloat) / 8;
  const int64_t first[] = {0, 11, 11, 24};
  const auto cut = [&](const at::Tensor& flat) {
    return TensorPiece{
        {1, 6, 4}, first[rank], flat.narrow(0, first[rank], first[rank + 1] - first[rank])};
  };
  std::map<std::string, PieceMap> roles = {{"generator", {}}, {"generator.optimizer", {}}};
  if (rank != 1) {
    roles["generator"]["blocks.0.modulation"] = cut(ramp);
    roles["generator.optimizer"]["exp_avg_sq/blocks.0.modulation"] = cut(ramp * ramp);
  } else {
    roles["generator"]["head.head.bias"] = {{3}, 0, at::tensor({-1.f, 0.f, 1.f}).to(at::kBFloat16)};
  }
  return roles;
}

/// Format version 1 with several writers: written once and kept, to be read by everything later;
/// still the bytes that are written today. The Python tests read the same files.
TEST_F(SharedCheckpoint, TheFixtureOfThreeWritersStaysReadable) {
  expect_none(on_ranks(3, [&](int64_t rank) {
    model::ModelConfig model;
    model.dim = 4;
    model.num_heads = 1;
    save_checkpoint(checkpoints_, share_of(model, 4, fixture_roles(rank)), place_of(rank, 3, 0));
  }));
  const fs::path kept = VMLA_CHECKPOINT_V1_RANKS;
  const CheckpointData data = load_checkpoint(kept);
  EXPECT_EQ(data.step, 4);
  EXPECT_EQ(data.counters.at("samples_seen"), 64);
  const at::Tensor ramp = at::arange(24, at::kFloat).reshape({1, 6, 4}) / 8;
  EXPECT_TRUE(tests::same_bits(data.roles.at("generator").at("blocks.0.modulation"), ramp));
  EXPECT_TRUE(tests::same_bits(data.roles.at("generator").at("head.head.bias"),
                               at::tensor({-1.f, 0.f, 1.f}).to(at::kBFloat16)));
  EXPECT_TRUE(tests::same_bits(
      data.roles.at("generator.optimizer").at("exp_avg_sq/blocks.0.modulation"), ramp * ramp));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(checkpoints_ / "step_4")) {
    const std::string name = entry.path().filename().string();
    names.insert(name);
    if (name == io::kManifestName) continue;  // it grows with the model's settings
    EXPECT_EQ(io::read_text_file(entry.path()), io::read_text_file(kept / name)) << name;
  }
  for (const auto& entry : fs::directory_iterator(kept))
    EXPECT_TRUE(names.contains(entry.path().filename().string())) << entry.path();
}

TEST_F(SharedCheckpoint, RangesAreReadFromWhereverTheyLie) {
  const model::ModelConfig model = small_model("mla");
  expect_none(save_drawn(checkpoints_, model, 6, 3, 0));
  const model::CheckpointFolder folder = model::open_checkpoint(run_);
  const CheckpointData whole = load_checkpoint(run_);
  std::mt19937 random(4);
  for (const auto& [name, tensor] : whole.roles.at("generator")) {
    const at::Tensor flat = tensor.reshape({-1});
    const auto numel = static_cast<uint32_t>(flat.numel());
    for (int i = 0; i < 4; ++i) {
      const int64_t first = random() % numel, count = random() % (numel - first) + 1;
      const at::Tensor part = at::full({count}, NAN, at::kDouble);
      model::read_range(folder, "generator", name, first, part);
      EXPECT_TRUE(at::equal(part, flat.narrow(0, first, count).to(at::kDouble))) << name;
    }
  }
  const std::string some = whole.roles.at("generator").begin()->first;
  EXPECT_ANY_THROW(model::read_range(folder, "generator", some, -1, at::empty({1})));
  EXPECT_ANY_THROW(model::read_range(folder, "generator", some, 0, at::empty({1 << 20})));
  EXPECT_THROW(model::read_range(folder, "generator", "nothing", 0, at::empty({1})), UserError);
  EXPECT_THROW(model::read_range(folder, "critic", some, 0, at::empty({1})), UserError);
}

TEST_F(SharedCheckpoint, RanksShareTheComparisonOfHashes) {
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

TEST_F(SharedCheckpoint, WritersThatDisagreeSaveNothing) {
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

TEST_F(SharedCheckpoint, AWriterThatNeverComesIsNamed) {
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

TEST_F(SharedCheckpoint, ACallerThatKnowsMoreEndsTheWait) {
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

TEST_F(SharedCheckpoint, AWriterThatIsKilledLeavesTheLastGoodCheckpoint) {
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

TEST_F(SharedCheckpoint, OnlyOtherAttemptsAreTidiedUp) {
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
