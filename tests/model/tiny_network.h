#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "model/network/kv_cache.h"
#include "model/network/wan_dit.h"
#include "model/weights/local_weights.h"

/// A network small enough for exact checks in fp64. None of its weights has a value that would hide
/// a mistake, such as a gain of 1 or a bias of 0.
namespace vmla::model {

constexpr int64_t kTinyHeight = 4, kTinyWidth = 6;  // latent grid: 2 x 3 tokens a frame
constexpr int64_t kTinyTokens = 6;

/// Two heads, two layers. The MLA form has a rank and rope pairs of its own in each layer, and key
/// and value heads of different sizes.
ModelConfig tiny_dense();
ModelConfig tiny_mla();
/// "dense" or "mla" with the given chunks and window.
ModelConfig tiny_causal(const std::string& attention, int64_t n, int64_t window, int64_t sink);

/// Standard normals in fp64 that depend on `name` alone.
at::Tensor draw(const std::string& name, at::IntArrayRef sizes);

/// Every tensor of the model drawn: gains around 1, biases and modulation far from 0, a head that
/// is not zero.
std::map<std::string, at::Tensor> drawn_weights(const ModelConfig& config);

/// Owns what a Network refers to.
struct TinyNetwork {
  explicit TinyNetwork(const ModelConfig& c, at::ScalarType dtype = at::kDouble);
  Network network() { return {config, weights}; }
  ModelConfig config;
  FrozenWeights weights;
};

/// Latents, one timestep a frame, and a text of fewer rows than text_len; fp64, batch 2.
DitInputs tiny_inputs(const ModelConfig& config, int64_t num_frames);
DitInputs to_float(const DitInputs& inputs);
/// Frames [first, first + count) of the inputs, at timestep 0 if `clean`.
DitInputs frames_of(const DitInputs& inputs, int64_t first, int64_t count, bool clean = false);

PreparedPlan prepared(const ModelConfig& config,
                      const AttentionPlan& plan,
                      at::ScalarType dtype = at::kDouble);

/// One forward without gradients.
at::Tensor flow_of(TinyNetwork& net, const DitInputs& inputs, const AttentionPlan& plan);

struct CachedForward {
  CacheKind kind = CacheKind::kStreaming;
  LatentForm form = LatentForm::kExpanded;
  bool keep_text = false;  // keep the prompt's keys and values over the chunks
};
/// The flow, chunk by chunk against a cache. The cache is filled by passes over the chunks of
/// `context`; where that is undefined, by the passes that give the flow.
at::Tensor cached_flow(TinyNetwork& net,
                       const DitInputs& inputs,
                       const DitInputs& context,
                       const CachedForward& how = {});

double max_difference(const at::Tensor& a, const at::Tensor& b);
bool bit_equal(const at::Tensor& a, const at::Tensor& b);

}  // namespace vmla::model
