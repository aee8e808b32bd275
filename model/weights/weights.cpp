#include "model/weights/weights.h"

#include "kernels/counter_rng/counter_rng.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"

#include <ATen/ATen.h>

#include <set>

namespace vmla::model {
namespace {

SelfAttentionWeights empty_self_attention(const ModelConfig& config) {
  if (config.is_mla()) return MlaAttentionWeights{};
  return DenseAttentionWeights{};
}

template <class Visit>
void visit_unit_shapes(const ModelConfig& config, int64_t unit, Visit visit) {
  if (unit == kRootUnit) {
    RootWeights root;
    RootWeights::fields(root, config, visit);
    return;
  }
  DitBlockWeights block;
  block.self_attn = empty_self_attention(config);
  DitBlockWeights::fields(block, layer_dims(config, unit), visit);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

std::string unit_prefix(int64_t unit) {
  return unit == kRootUnit ? std::string() : formatted("blocks.{}.", unit);
}

std::vector<TensorSpec> unit_layout(const ModelConfig& config, int64_t unit) {
  const std::string prefix = unit_prefix(unit);
  std::vector<TensorSpec> layout;
  int64_t offset = 0;
  visit_unit_shapes(config, unit, [&](const std::string& name, at::Tensor&, Shape shape) {
    int64_t numel = 1;
    for (int64_t size : shape) numel *= size;
    layout.push_back({prefix + name, std::move(shape), offset, numel});
    offset += numel;
  });
  return layout;
}

std::vector<int64_t> all_units(const ModelConfig& config) {
  std::vector<int64_t> units = {kRootUnit};
  for (int64_t layer = 0; layer < config.num_layers; ++layer) units.push_back(layer);
  return units;
}

int64_t parameter_count(const ModelConfig& config) {
  int64_t count = 0;
  for (int64_t unit : all_units(config)) {
    const auto layout = unit_layout(config, unit);
    count += layout.back().offset + layout.back().numel;
  }
  return count;
}

DitBlockWeights bind_block(const ModelConfig& config,
                           int64_t layer,
                           const std::vector<at::Tensor>& tensors) {
  DitBlockWeights block;
  block.self_attn = empty_self_attention(config);
  size_t next = 0;
  DitBlockWeights::fields(
      block, layer_dims(config, layer), [&](const std::string&, at::Tensor& t, const Shape&) {
        t = tensors.at(next++);
      });
  TORCH_CHECK(next == tensors.size(), "block weights: number of tensors given: ", tensors.size());
  return block;
}

RootWeights bind_root(const ModelConfig& config, const std::vector<at::Tensor>& tensors) {
  RootWeights root;
  size_t next = 0;
  RootWeights::fields(root, config, [&](const std::string&, at::Tensor& t, const Shape&) {
    t = tensors.at(next++);
  });
  TORCH_CHECK(next == tensors.size(), "root weights: number of tensors given: ", tensors.size());
  return root;
}

at::Tensor random_tensor(const ModelConfig& config, const TensorSpec& spec, uint64_t seed) {
  const kernels::DrawKey key{.seed = seed,
                             .step = 0,
                             .purpose = kernels::Purpose::kInit,
                             .role = kernels::hash_role(spec.name),
                             .sample = 0};
  const bool is_norm_gain = contains(spec.name, "norm") && spec.name.ends_with(".weight");
  if (is_norm_gain) return at::ones(spec.shape);
  if (spec.name.ends_with("modulation")) {
    return kernels::normal(key, spec.shape) / std::sqrt(static_cast<double>(config.dim));
  }
  if (spec.name.ends_with(".bias") || spec.name == "head.head.weight") return at::zeros(spec.shape);
  if (contains(spec.name, "text_embedding.") || contains(spec.name, "time_embedding.")) {
    return kernels::normal(key, spec.shape) * 0.02;
  }
  // Xavier: uniform in +-sqrt(6 / (fan in + fan out)).
  const int64_t fan_out = spec.shape[0];
  const int64_t fan_in = spec.numel / fan_out;
  const double bound = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  return kernels::uniform(key, spec.shape) * (2.0 * bound) - bound;
}

std::map<std::string, at::Tensor> random_weights(const ModelConfig& config, uint64_t seed) {
  std::map<std::string, at::Tensor> weights;
  for (int64_t unit : all_units(config)) {
    for (const auto& spec : unit_layout(config, unit))
      weights[spec.name] = random_tensor(config, spec, seed);
  }
  return weights;
}

namespace {

/// Names of one kind of problem: how many, and the first of them.
struct Misfits {
  std::string_view what;  // "3 tensors missing"
  std::vector<std::string> names;

  std::string text() const {
    constexpr size_t kShown = 3;
    std::string list = formatted("{} {} (", names.size(), what);
    for (size_t i = 0; i < names.size() && i < kShown; ++i) list += (i ? ", " : "") + names[i];
    return list + (names.size() > kShown ? ", ...)" : ")");
  }
};

}  // namespace

void check_weights(const ModelConfig& config,
                   const std::map<std::string, at::Tensor>& tensors,
                   const std::string& source) {
  Misfits missing{.what = "missing", .names = {}}, extra{.what = "not part of it", .names = {}},
      other{.what = "of another shape", .names = {}};
  std::set<std::string> expected;
  for (int64_t unit : all_units(config)) {
    for (const auto& spec : unit_layout(config, unit)) {
      expected.insert(spec.name);
      const auto found = tensors.find(spec.name);
      if (found == tensors.end()) {
        missing.names.push_back(spec.name);
      } else if (found->second.sizes() != at::IntArrayRef(spec.shape)) {
        other.names.push_back(formatted("{} is {}, the model wants {}",
                                        spec.name,
                                        found->second.sizes(),
                                        at::IntArrayRef(spec.shape)));
      }
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!expected.contains(name)) extra.names.push_back(io::quoted_name(name));
  }
  std::string list;
  for (const Misfits* const problem : {&missing, &extra, &other}) {
    if (!problem->names.empty()) list += (list.empty() ? "" : "; ") + problem->text();
  }
  if (list.empty()) return;
  fail_user("{}: weights do not fit the model ({} layers of width {}, {} tensors): {}",
            source,
            config.num_layers,
            config.dim,
            expected.size(),
            list);
}

}  // namespace vmla::model
