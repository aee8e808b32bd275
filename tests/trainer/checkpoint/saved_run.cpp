#include "tests/trainer/checkpoint/saved_run.h"

#include <ATen/ATen.h>

#include "model/io/error.h"
#include "tests/support/tensor_match.h"

namespace vmla::trainer {
namespace fs = std::filesystem;

std::vector<std::string> SavedRun::left_over() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(checkpoints_)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".")) names.push_back(name);
  }
  return names;
}

PieceMap whole_pieces(const model::TensorMap& tensors) {
  PieceMap pieces;
  for (const auto& [name, tensor] : tensors)
    pieces[name] = {.shape = tensor.sizes().vec(), .first = 0, .data = tensor};
  return pieces;
}

fs::path save_whole(const fs::path& checkpoints, const CheckpointData& data) {
  CheckpointShare share{data, {}};
  for (const auto& [role, tensors] : data.roles) share.roles[role] = whole_pieces(tensors);
  return save_checkpoint(checkpoints, share);
}

CheckpointData example_checkpoint(int64_t step) {
  const double s = static_cast<double>(step);
  CheckpointData data;
  data.step = step;
  data.stage = "teacher_forcing";
  data.counters = {{"samples_seen", step * 16}, {"clipped", -1}};
  data.data_position = {{"epoch", int64_t{2}}, {"order", "3f\n\"x\""}, {"big", INT64_MAX}};
  data.config_yaml = "stage: teacher_forcing\nmodel:\n  dim: 64  # \xc3\xa9\n";
  data.model.dim = 64;
  data.model.num_heads = 4;
  data.model.attention = "mla";
  data.model.kv_lora_rank = {{8, 16}};
  data.model.num_layers = 2;
  data.model.q_lora_rank = 24;
  data.model.qk_nope_head_dim = 12;
  data.model.qk_rope_head_dim = 4;
  data.model.v_head_dim = 16;
  data.model.rope_pair_indices = {{{0, 1}, {2, 3}}};
  data.init_method = "svd_weight";
  data.roles["generator"] = {
      {"blocks.0.modulation", at::full({1, 6, 4}, s)},
      {"head.head.weight", at::arange(12).reshape({3, 4}).to(at::kFloat) + s},
      {"empty", at::empty({0, 2})},
      {"scalar", at::scalar_tensor(s / 3, at::kDouble)}};
  data.roles["generator_ema"] = {{"head.head.weight", at::full({3, 4}, s / 7).to(at::kBFloat16)}};
  data.roles["generator.optimizer"] = {{"exp_avg_sq/head.head.weight", at::rand({3, 4})},
                                       {"steps", at::full({}, step, at::kLong)}};
  data.roles["real_score"] = {{"o.weight", at::eye(3).t()}};
  data.role_models["real_score"].dim = 32;
  data.role_models["real_score"].num_heads = 4;
  return data;
}

void expect_equal(const CheckpointData& a, const CheckpointData& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_EQ(a.stage, b.stage);
  EXPECT_EQ(a.counters, b.counters);
  EXPECT_EQ(a.data_position, b.data_position);
  EXPECT_EQ(a.config_yaml, b.config_yaml);
  EXPECT_EQ(a.model, b.model);
  EXPECT_EQ(a.init_method, b.init_method);
  EXPECT_EQ(a.role_models, b.role_models);
  ASSERT_EQ(a.roles.size(), b.roles.size());
  for (const auto& [role, tensors] : a.roles) {
    ASSERT_EQ(tensors.size(), b.roles.at(role).size()) << role;
    for (const auto& [name, tensor] : tensors) {
      EXPECT_TRUE(tests::same_bits(tensor, b.roles.at(role).at(name))) << role << " " << name;
    }
  }
}

std::string load_problem(const fs::path& path) {
  return message_of<UserError>([&] { load_checkpoint(path); });
}

}  // namespace vmla::trainer
