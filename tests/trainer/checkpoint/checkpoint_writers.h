#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <exception>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "model/io/atomic_file.h"
#include "tests/trainer/small_networks.h"
#include "trainer/checkpoint/checkpoint.h"

/// A run's state cut over ranks, and ranks that are threads.
namespace vmla::trainer {

/// What rank `rank` of `ranks` holds of a unit: equal cuts of its flat buffer, the last ones
/// shorter or empty.
inline model::FlatPart equal_cut(const std::vector<model::TensorSpec>& layout,
                                 int64_t rank,
                                 int64_t ranks) {
  const int64_t numel = layout.back().offset + layout.back().numel;
  const int64_t each = (numel + ranks - 1) / ranks;
  const int64_t begin = std::min(numel, rank * each), end = std::min(numel, begin + each);
  model::FlatPart part{.pieces = {}, .numel = end - begin};
  for (size_t i = 0; i < layout.size(); ++i) {
    const int64_t from = std::max(begin, layout[i].offset);
    const int64_t to = std::min(end, layout[i].offset + layout[i].numel);
    if (from >= to) continue;
    part.pieces.push_back({.tensor = i,
                           .first = from - layout[i].offset,
                           .count = to - from,
                           .offset = from - begin});
  }
  return part;
}

/// The names of a role's tensors stand behind `prefix` (an optimizer's state).
struct FlatRole {
  std::string name, prefix;
};
inline std::vector<FlatRole> flat_roles() {
  return {{"generator", ""}, {"generator.optimizer", "exp_avg_sq/"}};
}

/// The flat buffers of every role and unit of one rank.
using FlatState = std::map<std::string, std::map<int64_t, at::Tensor>>;

/// Drawn from `seed`: element i of a unit is the same however it is cut.
inline FlatState drawn_state(const model::ModelConfig& model,
                             int64_t seed,
                             int64_t rank,
                             int64_t ranks) {
  FlatState state;
  for (const FlatRole& role : flat_roles()) {
    for (const int64_t unit : model::all_units(model)) {
      const auto layout = model::unit_layout(model, unit);
      const int64_t numel = layout.back().offset + layout.back().numel;
      const int64_t each = (numel + ranks - 1) / ranks, begin = std::min(numel, rank * each);
      const at::Tensor i = at::arange(begin, std::min(numel, begin + each), at::kDouble);
      const double salt =
          static_cast<double>(seed * 31 + unit * 7) + static_cast<double>(role.name.size());
      state[role.name][unit] = at::sin(i * 12.9898 + salt).to(at::kFloat);
    }
  }
  return state;
}

inline std::map<std::string, PieceMap> pieces_of(const model::ModelConfig& model,
                                                 const FlatState& state,
                                                 int64_t rank,
                                                 int64_t ranks) {
  std::map<std::string, PieceMap> roles;
  for (const FlatRole& role : flat_roles()) {
    for (const int64_t unit : model::all_units(model)) {
      const auto layout = model::unit_layout(model, unit);
      roles[role.name].merge(unit_pieces(
          layout, equal_cut(layout, rank, ranks), state.at(role.name).at(unit), role.prefix));
    }
  }
  return roles;
}

inline CheckpointShare share_of(const model::ModelConfig& model,
                                int64_t step,
                                std::map<std::string, PieceMap> roles) {
  CheckpointShare share;
  share.step = step;
  share.stage = "teacher_forcing";
  share.counters = {{"samples_seen", step * 16}};
  share.config_yaml = "stage: teacher_forcing\n";
  share.model = model;
  share.roles = std::move(roles);
  return share;
}

inline io::SavePlace place_of(int64_t writer,
                              int64_t writers,
                              int64_t serial,
                              double timeout_seconds = 60) {
  return {.writer = writer,
          .writers = writers,
          .attempt = "run-0",
          .serial = serial,
          .timeout_seconds = timeout_seconds};
}

/// Runs `work(rank)` on a thread each; what each threw.
template <class Work>
std::vector<std::exception_ptr> on_ranks(int64_t ranks, const Work& work) {
  std::vector<std::exception_ptr> problems(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        work(rank);
      } catch (...) {
        problems[static_cast<size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return problems;
}

inline void expect_none(const std::vector<std::exception_ptr>& problems) {
  for (const std::exception_ptr& problem : problems) {
    if (problem) {
      EXPECT_NO_THROW(std::rethrow_exception(problem));
    }
  }
}

/// A run folder of its own, and no hook left behind.
class SavedRun : public testing::Test {
 protected:
  SavedRun() {
    std::string name = (std::filesystem::temp_directory_path() / "vmla-save-XXXXXX").string();
    run_ = mkdtemp(name.data());
    checkpoints_ = run_ / "checkpoints";
  }
  ~SavedRun() override {
    io::set_fault_hook(nullptr);
    std::filesystem::remove_all(run_);
  }
  /// Names in the checkpoints folder that begin with a dot.
  std::vector<std::string> left_over() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(checkpoints_)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(".")) names.push_back(name);
    }
    return names;
  }
  std::filesystem::path run_, checkpoints_;
};

}  // namespace vmla::trainer
