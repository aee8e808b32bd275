#include "launch/step_inputs.h"

#include <ATen/ATen.h>

#include <map>
#include <string_view>
#include <vector>

#include "launch/input_tensor.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

/// The shape of a tensor, one letter for each axis: axes with the same letter have the same size in
/// all tensors. `*` has any size. `w` are the scored windows of a rollout, `f` the frames of a
/// window, `t` the rows of the negative prompt's embedding; `1` is one row for all samples.
struct InputShape {
  const char* name;
  std::vector<std::string_view> forms;  // it has one of these
};

/// Sizes are taken from the first tensor that has a letter, so the order decides which tensor a
/// contradiction is blamed on.
const std::vector<InputShape> kShapes = {
    {"clean_latents", {"BFCHW"}},
    {"rollout_noise", {"BFCHW"}},
    {"state", {"BFCHW"}},
    {"ode_target", {"BFCHW"}},
    {"ode_states", {"B*FCHW"}},
    {"ode_index", {"BF"}},
    {"context_noise", {"BFCHW"}},
    {"renoise", {"*BFCHW"}},
    {"timesteps", {"BF", "B"}},
    {"index", {"B"}},
    {"tau", {"B", "wB"}},
    {"exit_index", {""}},
    {"first_chunk_exit_index", {""}},
    {"denoising_steps", {"*"}},
    {"first_chunk_denoising_steps", {"*"}},
    {"text", {"BTE"}},
    {"negative_text", {"BtE", "1tE"}},
};
const InputShape kNoise = {"noise", {"BFCHW"}};
// Where the inputs hold a rollout, `noise` is added to its windows before they are scored.
const InputShape kScoreNoise = {"noise", {"BfCHW", "wBfCHW"}};

using Sizes = std::map<char, int64_t>;

/// Whether the tensor has this shape; if so, `sizes` learns the letters that were new.
bool fits(const at::Tensor& tensor, std::string_view form, Sizes& sizes) {
  if (tensor.dim() != static_cast<int64_t>(form.size())) return false;
  Sizes met = sizes;
  for (size_t i = 0; i < form.size(); ++i) {
    const int64_t size = tensor.size(static_cast<int64_t>(i));
    if (form[i] != '*' && met.emplace(form[i], size).first->second != size) return false;
  }
  sizes = std::move(met);
  return true;
}

/// "[2, F, 4, H, W]": known sizes as numbers, the others as letters.
std::string described(std::string_view form, const Sizes& sizes) {
  std::string text;
  for (const char axis : form) {
    const auto known = sizes.find(axis);
    text += text.empty() ? "" : ", ";
    text += known == sizes.end() ? std::string(1, axis) : std::to_string(known->second);
  }
  return "[" + text + "]";
}

void check_shape(const std::string& path,
                 const model::TensorMap& inputs,
                 const InputShape& shape,
                 Sizes& sizes) {
  const auto found = inputs.find(shape.name);
  if (found == inputs.end()) return;
  std::string wanted;
  for (const std::string_view form : shape.forms) {
    if (fits(found->second, form, sizes)) return;
    wanted += (wanted.empty() ? "" : " or ") + described(form, sizes);
  }
  fail_user(
      "{}: tensor '{}' is {}, it must be {}", path, shape.name, found->second.sizes(), wanted);
}

/// Checks that a list of timesteps decreases, and that there is a draw of noise for every pass but
/// the last one, which `exit_index` names.
void check_steps(const std::string& path,
                 const model::TensorMap& inputs,
                 const std::string& prefix) {
  const auto steps = inputs.find(prefix + "denoising_steps");
  if (steps != inputs.end() && steps->second.diff().ge(0).any().item<bool>())
    fail_user(
        "{}: tensor '{}' does not decrease; timesteps run from noise to clean", path, steps->first);
  const auto exit = inputs.find(prefix + "exit_index"), renoise = inputs.find("renoise");
  if (exit == inputs.end() || renoise == inputs.end()) return;
  const auto index = exit->second.item().toLong();
  if (steps != inputs.end() && index >= steps->second.size(0)) return;  // the objective says so
  if (renoise->second.size(0) < index) {
    fail_user("{}: tensor 'renoise' has {} draws, {} {} needs one after each of {} passes",
              path,
              renoise->second.size(0),
              exit->first,
              index,
              index);
  }
}

}  // namespace

model::TensorMap read_step_inputs(const std::string& path,
                                  at::ScalarType dtype,
                                  const model::ModelConfig& config) {
  model::TensorMap inputs = model::read_safetensors(path).tensors;
  for (auto& [name, tensor] : inputs) {
    // Mapped files are read-only memory: the network gets tensors of its own.
    if (!tensor.is_floating_point()) {
      tensor = tensor.clone();
      continue;
    }
    // Timesteps stay fp64 in any precision.
    const bool times = name.ends_with("timesteps") || name.ends_with("denoising_steps");
    tensor = tensor.to(times ? at::kDouble : dtype, /*non_blocking=*/false, /*copy=*/true);
    expect_finite(path, name, tensor);
  }
  Sizes sizes = {{'C', config.in_dim}, {'E', config.text_dim}, {'1', 1}};
  for (const InputShape& shape : kShapes) check_shape(path, inputs, shape, sizes);
  check_shape(path, inputs, inputs.contains("rollout_noise") ? kScoreNoise : kNoise, sizes);
  if (sizes.contains('f') && sizes['f'] > sizes['F']) {
    fail_user("{}: tensor 'noise' has {} frames, the rollout {}; the scores cannot see more",
              path,
              sizes['f'],
              sizes['F']);
  }
  check_steps(path, inputs, "");
  check_steps(path, inputs, "first_chunk_");
  return inputs;
}

}  // namespace vmla::launch
