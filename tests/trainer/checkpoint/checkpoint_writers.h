#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/weights/local_weights.h"
#include "tests/trainer/checkpoint/saved_run.h"
#include "tests/trainer/small_networks.h"
#include "trainer/checkpoint/save_checkpoint.h"

/// A run's state cut over ranks, and ranks that are threads.
namespace vmla::trainer {

/// What rank `rank` of `ranks` holds of a unit: equal cuts of its flat buffer, the last ones
/// shorter or empty.
model::FlatPart equal_cut(const std::vector<model::TensorSpec>& layout,
                          int64_t rank,
                          int64_t ranks);

/// The flat buffers of every role (weights, and the optimizer's state) and unit of one rank.
using FlatState = std::map<std::string, std::map<int64_t, at::Tensor>>;

/// Drawn from `seed`: element i of a unit is the same however it is cut.
FlatState drawn_state(const model::ModelConfig& model, int64_t seed, int64_t rank, int64_t ranks);

std::map<std::string, PieceMap> pieces_of(const model::ModelConfig& model,
                                          const FlatState& state,
                                          int64_t rank,
                                          int64_t ranks);

CheckpointShare share_of(const model::ModelConfig& model,
                         int64_t step,
                         std::map<std::string, PieceMap> roles);

io::SavePlace place_of(int64_t writer,
                       int64_t writers,
                       int64_t serial,
                       double timeout_seconds = 60);

/// Runs `work(rank)` on a thread each; what each threw, or null.
std::vector<std::exception_ptr> on_ranks(int64_t ranks,
                                         const std::function<void(int64_t rank)>& work);
void expect_none(const std::vector<std::exception_ptr>& problems);
/// What the error says; whether it is the one of a writer that another has failed.
std::string text_of(const std::exception_ptr& problem);
bool is_elsewhere(const std::exception_ptr& problem);

/// All ranks save drawn_state(model, step); what each threw.
std::vector<std::exception_ptr> save_drawn(const std::filesystem::path& checkpoints,
                                           const model::ModelConfig& model,
                                           int64_t step,
                                           int64_t ranks,
                                           int64_t serial);
/// One rank's part, read by itself, over memory that shows what was left out.
FlatState read_state(const std::filesystem::path& path,
                     const model::ModelConfig& model,
                     int64_t rank,
                     int64_t ranks);
void expect_drawn(const FlatState& state,
                  const model::ModelConfig& model,
                  int64_t seed,
                  int64_t rank,
                  int64_t ranks);

}  // namespace vmla::trainer
