#pragma once

#include "model/config/model_config.h"

#include "model/conversion/layer_moments.h"

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
  // M = [diag(norm_k) W_K content rows; W_V]. Energy kept and least error are those of the matrix
  // that the method factorises: M itself, or M with the inputs' moment or weights put in.
  double kv_energy_kept = 0;    // share of its squared singular values
  double kv_error = 0;          // ||M - up down||_F, scale constants taken out
  double kv_optimal_error = 0;  // Eckart-Young: root of the squared singular values beyond the rank
  // Root of E||(M - up down) x||² / E||M x||² over the calibration tokens; -1: not calibrated.
  double kv_activation_error = -1;
  // Root of what the method makes small, relative to that of zeros, before and after refinement;
  // -1: not refined. kv_energy_kept and kv_error are those after it, kv_optimal_error the method's.
  double refined_from = -1, refined_to = -1;
  double q_energy_kept = 0;
  double rope_energy_lost = 0;  // share of the rope rows' energy that one shared key cannot carry
  // With `bias: false`: the dropped bias' share of the typical energy (rows for isotropic inputs of
  // unit variance, plus bias) of the queries, and of the shared rope key. 0 when nothing was
  // dropped.
  double query_bias_lost = 0, rope_key_bias_lost = 0;
  // Constants put into kv_b's key rows, its value rows and q_b.
  double key_scale = 1, value_scale = 1, query_scale = 1;
};

/// One layer's self-attention, converted: names below `blocks.N.self_attn.`, fp32.
struct ConvertedLayer {
  std::map<std::string, at::Tensor> tensors;
  InitLayerReport report;  // of a method that factorises; else the layer's number alone
};

/// Gives all layers of a model, each as `convert` makes it: here, or by others who share the work.
using ConvertLayers = std::function<std::vector<ConvertedLayer>(
    int64_t num_layers, const std::function<ConvertedLayer(int64_t layer)>& convert)>;

/// Converts layers `first`, `first + step`, ... into their places in `layers`, one on each thread.
void convert_every(int64_t num_layers,
                   int64_t first,
                   int64_t step,
                   const std::function<ConvertedLayer(int64_t layer)>& convert,
                   std::vector<ConvertedLayer>& layers);

/// All layers, in this process.
std::vector<ConvertedLayer> convert_alone(
    int64_t num_layers, const std::function<ConvertedLayer(int64_t layer)>& convert);

/// UserError unless every method can convert such weights: a dense model, complete, of the same
/// width, heads and depth, each channel of whose heads is kept.
void check_conversion_sizes(const ModelConfig& mla,
                            const ModelConfig& dense,
                            const std::map<std::string, at::Tensor>& dense_tensors);

struct MlaInit {
  std::map<std::string, at::Tensor> tensors;  // a complete MLA model, fp32
  std::vector<InitLayerReport> layers;        // empty for a method that does not factorise
};

/// Builds MLA weights from a dense model of the same width, heads and depth by a method of the
/// table in init_methods.h. Everything outside self-attention is copied. What self-attention
/// becomes is docs/algorithms.md 5.
///
/// `moments`: one a layer, for methods that calibrate (calibration.h); others leave them unread.
///
/// `refine_steps`: at most so many of refine.h, after a method that factorises.
///
/// UserError when sizes do not fit, the method is unknown, or it calibrates and there are no
/// moments.
MlaInit init_mla_from_dense(const ModelConfig& mla,
                            const ModelConfig& dense,
                            const std::map<std::string, at::Tensor>& dense_tensors,
                            const std::string& method,
                            uint64_t seed,
                            const ConvertLayers& convert_layers = convert_alone,
                            const std::vector<LayerMoments>& moments = {},
                            int64_t refine_steps = 0);

/// One line on the biases that a model with `bias: false` could not take over; empty when it lost
/// none.
std::string dropped_bias_note(const std::vector<InitLayerReport>& layers);

}  // namespace vmla::model
