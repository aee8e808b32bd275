#pragma once

#include "model/config/model_config.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

/// Weights as plain structs of tensors. Each struct's fields() calls a visitor with (name, tensor,
/// shape) for each tensor, in a fixed order, under the names of checkpoints (docs/algorithms.md 2.2
/// and 4.1). Loading, initialising, counting, sharding and exporting all go through this one list,
/// so that a new tensor is added in one place.
namespace vmla::model {

using Shape = std::vector<int64_t>;

/// A visitor that calls `visit` with `prefix` in front of every name.
template <class V>
auto prefixed(std::string prefix, V& visit) {
  return [prefix = std::move(prefix), &visit](const std::string& name, auto& tensor, Shape shape) {
    visit(prefix + name, tensor, std::move(shape));
  };
}

/// Attention with per-head keys and values: Wan's self-attention, and the text cross-attention of
/// every model.
struct DenseAttentionWeights {
  at::Tensor q_weight, q_bias, k_weight, k_bias, v_weight, v_bias, o_weight, o_bias;  // [D, D], [D]
  at::Tensor norm_q_weight, norm_k_weight;  // [D]: RMS norm over all heads at once

  template <class Self, class V>
  static void fields(Self& w, const LayerDims& d, V&& v) {
    v("q.weight", w.q_weight, Shape{d.dim, d.dim});
    v("q.bias", w.q_bias, Shape{d.dim});
    v("k.weight", w.k_weight, Shape{d.dim, d.dim});
    v("k.bias", w.k_bias, Shape{d.dim});
    v("v.weight", w.v_weight, Shape{d.dim, d.dim});
    v("v.bias", w.v_bias, Shape{d.dim});
    v("o.weight", w.o_weight, Shape{d.dim, d.dim});
    v("o.bias", w.o_bias, Shape{d.dim});
    v("norm_q.weight", w.norm_q_weight, Shape{d.dim});
    v("norm_k.weight", w.norm_k_weight, Shape{d.dim});
  }
};

/// Multi-head latent attention (VideoMLA, docs/algorithms.md 4.1). Q query rank, R K/V rank, P rope
/// dim.
struct MlaAttentionWeights {
  at::Tensor q_a_proj;        // [Q, D]
  at::Tensor q_a_layernorm;   // [Q]
  at::Tensor q_b_proj;        // [N (nope + P), Q], per head: nope rows, then rope rows
  at::Tensor q_b_bias;        // [N (nope + P)], only with `bias`
  at::Tensor kv_a_proj;       // [R + P, D]: latent rows, then the shared rope key's
  at::Tensor kv_a_bias;       // [R + P], only with `bias`
  at::Tensor kv_a_layernorm;  // [R]
  at::Tensor kv_b_proj;       // [N (nope + V), R], per head: nope key rows, then value rows
  at::Tensor o_weight;        // [D, N V]
  at::Tensor o_bias;          // [D]

  template <class Self, class V>
  static void fields(Self& w, const LayerDims& d, V&& v) {
    const int64_t qk = d.nope + d.rope;
    v("q_a_proj.weight", w.q_a_proj, Shape{d.q_rank, d.dim});
    v("q_a_layernorm.weight", w.q_a_layernorm, Shape{d.q_rank});
    v("q_b_proj.weight", w.q_b_proj, Shape{d.num_heads * qk, d.q_rank});
    if (d.bias) v("q_b_proj.bias", w.q_b_bias, Shape{d.num_heads * qk});
    v("kv_a_proj_with_mqa.weight", w.kv_a_proj, Shape{d.kv_rank + d.rope, d.dim});
    if (d.bias) v("kv_a_proj_with_mqa.bias", w.kv_a_bias, Shape{d.kv_rank + d.rope});
    v("kv_a_layernorm.weight", w.kv_a_layernorm, Shape{d.kv_rank});
    v("kv_b_proj.weight", w.kv_b_proj, Shape{d.num_heads * (d.nope + d.v_head), d.kv_rank});
    v("o.weight", w.o_weight, Shape{d.dim, d.num_heads * d.v_head});
    v("o.bias", w.o_bias, Shape{d.dim});
  }
};

using SelfAttentionWeights = std::variant<DenseAttentionWeights, MlaAttentionWeights>;

struct DitBlockWeights {
  at::Tensor modulation;  // [1, 6, D]
  SelfAttentionWeights self_attn;
  at::Tensor norm3_weight, norm3_bias;  // [D], in front of the cross-attention
  DenseAttentionWeights cross_attn;
  at::Tensor ffn_in_weight, ffn_in_bias;    // [ffn, D], [ffn]
  at::Tensor ffn_out_weight, ffn_out_bias;  // [D, ffn], [D]

  template <class Self, class V>
  static void fields(Self& w, const LayerDims& d, V&& v) {
    v("modulation", w.modulation, Shape{1, 6, d.dim});
    std::visit([&](auto& a) { std::decay_t<decltype(a)>::fields(a, d, prefixed("self_attn.", v)); },
               w.self_attn);
    v("norm3.weight", w.norm3_weight, Shape{d.dim});
    v("norm3.bias", w.norm3_bias, Shape{d.dim});
    DenseAttentionWeights::fields(w.cross_attn, d, prefixed("cross_attn.", v));
    v("ffn.0.weight", w.ffn_in_weight, Shape{d.ffn_dim, d.dim});
    v("ffn.0.bias", w.ffn_in_bias, Shape{d.ffn_dim});
    v("ffn.2.weight", w.ffn_out_weight, Shape{d.dim, d.ffn_dim});
    v("ffn.2.bias", w.ffn_out_bias, Shape{d.dim});
  }
};

/// Everything outside the blocks.
struct RootWeights {
  at::Tensor patch_weight, patch_bias;  // [D, C, 1, p, p], [D]
  at::Tensor text_in_weight, text_in_bias, text_out_weight, text_out_bias;
  at::Tensor time_in_weight, time_in_bias, time_out_weight, time_out_bias;
  at::Tensor time_proj_weight, time_proj_bias;  // [6 D, D], [6 D]
  at::Tensor head_weight, head_bias;  // [p p C_out, D]; rows ordered (dy, dx, c), c fastest
  at::Tensor head_modulation;         // [1, 2, D]

  template <class Self, class V>
  static void fields(Self& w, const ModelConfig& c, V&& v) {
    const auto& p = c.patch_size;
    const int64_t patch = p[0] * p[1] * p[2];
    v("patch_embedding.weight", w.patch_weight, Shape{c.dim, c.in_dim, p[0], p[1], p[2]});
    v("patch_embedding.bias", w.patch_bias, Shape{c.dim});
    v("text_embedding.0.weight", w.text_in_weight, Shape{c.dim, c.text_dim});
    v("text_embedding.0.bias", w.text_in_bias, Shape{c.dim});
    v("text_embedding.2.weight", w.text_out_weight, Shape{c.dim, c.dim});
    v("text_embedding.2.bias", w.text_out_bias, Shape{c.dim});
    v("time_embedding.0.weight", w.time_in_weight, Shape{c.dim, c.freq_dim});
    v("time_embedding.0.bias", w.time_in_bias, Shape{c.dim});
    v("time_embedding.2.weight", w.time_out_weight, Shape{c.dim, c.dim});
    v("time_embedding.2.bias", w.time_out_bias, Shape{c.dim});
    v("time_projection.1.weight", w.time_proj_weight, Shape{6 * c.dim, c.dim});
    v("time_projection.1.bias", w.time_proj_bias, Shape{6 * c.dim});
    v("head.head.weight", w.head_weight, Shape{patch * c.out_dim, c.dim});
    v("head.head.bias", w.head_bias, Shape{patch * c.out_dim});
    v("head.modulation", w.head_modulation, Shape{1, 2, c.dim});
  }
};

/// A unit is what is acquired, recomputed and sharded as a whole: one of the blocks 0 to
/// num_layers - 1, or the root, which is everything outside the blocks.
constexpr int64_t kRootUnit = -1;

/// One tensor of a unit: its checkpoint name (`blocks.3.ffn.0.weight`), shape, and place in the
/// unit's flat buffer.
struct TensorSpec {
  std::string name;
  Shape shape;
  int64_t offset;
  int64_t numel;
};

/// "blocks.N." of a block, empty for the root: what its tensors' names begin with.
std::string unit_prefix(int64_t unit);
/// The tensors of a unit in visitor order.
std::vector<TensorSpec> unit_layout(const ModelConfig& config, int64_t unit);
/// All units in the order root, 0, 1, ...
std::vector<int64_t> all_units(const ModelConfig& config);
int64_t parameter_count(const ModelConfig& config);

/// The struct with its tensors, which are given in visitor order.
DitBlockWeights bind_block(const ModelConfig& config,
                           int64_t layer,
                           const std::vector<at::Tensor>& tensors);
RootWeights bind_root(const ModelConfig& config, const std::vector<at::Tensor>& tensors);

/// Fresh weights as Wan initialises new modules (docs/algorithms.md 2.10): Xavier-uniform linears
/// with zero bias, normal 0.02 for the text and time embeddings, zero head, modulation normal /
/// sqrt(D), unit norm gains. The value of a tensor depends on the seed and its name
/// alone, so that any rank can draw any tensor.
at::Tensor random_tensor(const ModelConfig& config, const TensorSpec& spec, uint64_t seed);
std::map<std::string, at::Tensor> random_weights(const ModelConfig& config, uint64_t seed);

/// Checks names and shapes against the configuration. UserError names `source`, and the first
/// tensors that are missing, not part of the model, or of another shape.
void check_weights(const ModelConfig& config,
                   const std::map<std::string, at::Tensor>& tensors,
                   const std::string& source);

}  // namespace vmla::model
