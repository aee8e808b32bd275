#include "tests/trainer/checkpoint/checkpoint_writers.h"

#include <ATen/ATen.h>

#include <cmath>
#include <thread>

#include "model/formats/checkpoint_ranges.h"
#include "model/io/shared_save.h"
#include "tests/support/tensor_match.h"

namespace vmla::trainer {
namespace {

/// The names of a role's tensors stand behind `prefix` (an optimizer's state).
struct FlatRole {
  std::string name, prefix;
};
std::vector<FlatRole> flat_roles() {
  return {{"generator", ""}, {"generator.optimizer", "exp_avg_sq/"}};
}

}  // namespace

model::FlatPart equal_cut(const std::vector<model::TensorSpec>& layout,
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

FlatState drawn_state(const model::ModelConfig& model, int64_t seed, int64_t rank, int64_t ranks) {
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

std::map<std::string, PieceMap> pieces_of(const model::ModelConfig& model,
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

CheckpointShare share_of(const model::ModelConfig& model,
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

io::SavePlace place_of(int64_t writer, int64_t writers, int64_t serial, double timeout_seconds) {
  return {.writer = writer,
          .writers = writers,
          .attempt = "run-0",
          .serial = serial,
          .timeout_seconds = timeout_seconds};
}

std::vector<std::exception_ptr> on_ranks(int64_t ranks,
                                         const std::function<void(int64_t rank)>& work) {
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

void expect_none(const std::vector<std::exception_ptr>& problems) {
  for (const std::exception_ptr& problem : problems) {
    if (problem) {
      EXPECT_NO_THROW(std::rethrow_exception(problem));
    }
  }
}

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

std::vector<std::exception_ptr> save_drawn(const std::filesystem::path& checkpoints,
                                           const model::ModelConfig& model,
                                           int64_t step,
                                           int64_t ranks,
                                           int64_t serial) {
  return on_ranks(ranks, [&](int64_t rank) {
    const FlatState state = drawn_state(model, step, rank, ranks);
    save_checkpoint(checkpoints,
                    share_of(model, step, pieces_of(model, state, rank, ranks)),
                    place_of(rank, ranks, serial));
  });
}

FlatState read_state(const std::filesystem::path& path,
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

}  // namespace vmla::trainer
