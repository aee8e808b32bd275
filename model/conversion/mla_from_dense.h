#pragma once

#include "model/config/model_config.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace vmla::model {

/// What the conversion of one layer kept and lost, in weights.
struct InitLayerReport {
  int64_t layer = 0;
  int64_t kv_rank = 0, q_rank = 0;
  double kv_energy_kept = 0;    // of [diag(norm_k) W_K content rows; W_V], squared singular values
  double kv_error = 0;          // ||M − up·down||_F, scale constants taken out
  double kv_optimal_error = 0;  // Eckart–Young: root of the squared singular values beyond the rank
  double q_energy_kept = 0;
  double rope_energy_lost = 0;  // share of the rope rows' energy that one shared key cannot carry
  // With `bias: false`: the dropped bias' share of the typical energy (rows for isotropic inputs of
  // unit variance, plus bias) of the queries, and of the shared rope key. 0 when nothing was
  // dropped.
  double query_bias_lost = 0, rope_key_bias_lost = 0;
  double key_scale = 1, value_scale = 1,
         query_scale = 1;  // constants put into kv_b (K, V rows) and q_b
};

/// One layer's self-attention, converted: names below `blocks.N.self_attn.`, fp32.
struct ConvertedLayer {
  std::map<std::string, at::Tensor> tensors;
  InitLayerReport report;  // of svd_weight
};

/// Gives all layers of a model, each as `convert` makes it: here, or by others who share the work.
using ConvertLayers = std::function<std::vector<ConvertedLayer>(
    int64_t num_layers, const std::function<ConvertedLayer(int64_t layer)>& convert)>;

/// One layer after the other, in this process.
std::vector<ConvertedLayer> convert_alone(
    int64_t num_layers, const std::function<ConvertedLayer(int64_t layer)>& convert);

struct MlaInit {
  std::map<std::string, at::Tensor> tensors;  // a complete MLA model, fp32
  std::vector<InitLayerReport> layers;        // empty for `random`
};

/// Builds MLA weights from a dense model of the same width, heads and depth. Everything outside
/// self-attention, and the output projection, is copied.
///
/// svd_weight (VideoMLA; docs/algorithms.md 5.1): one unbalanced truncated SVD of [diag(norm_k) W_K
/// content rows; W_V], content channels ascending, split as down = S^½ Vᵀ, up = U S^½. Queries
/// likewise from diag(norm_q) W_q. The shared rope key of a pair is the top eigenvector u of the
/// heads' Hermitian second moment: s = uᴴ k, and conj(u_h) moves into head h's query
/// (docs/algorithms.md 5.2). Wan's norm over all heads has no place in MLA; the latent norm takes
/// its role, so typical scales E[rms] become constants in kv_b, q_b and the rope rows
/// (docs/algorithms.md 5.3), computed for isotropic inputs of unit variance. b_v moves exactly into
/// the output bias as W_o b_v; the content part of b_k drops out of the softmax; the rope part of
/// b_k and b_q stay (docs/algorithms.md 5.4).
///
/// random: Xavier-uniform new matrices from `seed`, the rest from the dense model.
///
/// UserError when sizes do not fit or the method is unknown.
MlaInit init_mla_from_dense(const ModelConfig& mla,
                            const ModelConfig& dense,
                            const std::map<std::string, at::Tensor>& dense_tensors,
                            const std::string& method,
                            uint64_t seed,
                            const ConvertLayers& convert_layers = convert_alone);

/// One line on the biases that a model with `bias: false` could not take over; empty when it lost
/// none.
std::string dropped_bias_note(const std::vector<InitLayerReport>& layers);

/// A = up · down with the best rank-r approximation error: down [r, n] = S^½ Vᵀ, up [m, r] = U S^½,
/// fp64, by the Gram matrix of the smaller side. Ranks beyond the matrix' own are padded with
/// zeros.
struct LowRank {
  at::Tensor up, down;
  double energy_kept;
  double optimal_error;
};
LowRank truncated_svd(const at::Tensor& matrix, int64_t rank);

}  // namespace vmla::model
