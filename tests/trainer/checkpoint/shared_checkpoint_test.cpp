// Checkpoints that several ranks write and any other number of them reads. Ranks are threads.

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <cmath>
#include <random>
#include <set>

#include "model/formats/checkpoint_ranges.h"
#include "model/io/error.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/checkpoint/checkpoint_writers.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;
using SharedCheckpoint = SavedRun;

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
      model::CheckpointRanges(folder).read("generator", name, first, part);
      EXPECT_TRUE(at::equal(part, flat.narrow(0, first, count).to(at::kDouble))) << name;
    }
  }
  const std::string some = whole.roles.at("generator").begin()->first;
  EXPECT_ANY_THROW(model::CheckpointRanges(folder).read("generator", some, -1, at::empty({1})));
  EXPECT_ANY_THROW(
      model::CheckpointRanges(folder).read("generator", some, 0, at::empty({1 << 20})));
  EXPECT_THROW(model::CheckpointRanges(folder).read("generator", "nothing", 0, at::empty({1})),
               UserError);
  EXPECT_THROW(model::CheckpointRanges(folder).read("critic", some, 0, at::empty({1})), UserError);
}

}  // namespace
}  // namespace vmla::trainer
