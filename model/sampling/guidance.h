#pragma once

#include "model/network/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::model {

/// The prompts [B, T, E], then the negative prompt [1, T', E] once for each: [2B, text_len, E], for
/// one pass of 2B that guides. Zero rows fill both up to text_len, as the network itself would fill
/// them (docs/algorithms.md 2.5), because a batch needs one length.
at::Tensor with_negative(const at::Tensor& text_BTE,
                         const at::Tensor& negative_text_1TE,
                         int64_t text_len);

/// Classifier-free guidance, v_neg + w (v_pos − v_neg) (docs/algorithms.md 8.4), in one pass of 2B
/// samples: the positive batch, then the negative one. With w = 1 there is no negative half.
class Guidance {
 public:
  /// negative_text [1, T, E] may be undefined with a scale of 1.
  Guidance(double scale, const at::Tensor& negative_text_1TE, int64_t text_len);

  /// The texts of both halves (with_negative); with w = 1 the input itself.
  at::Tensor text(const at::Tensor& positive_BTE) const;
  /// An input for both halves: x twice along the batch, or once with w = 1.
  at::Tensor repeat(const at::Tensor& x) const;
  /// The guided flow [B, ...] from the flow of both halves.
  at::Tensor combine(const at::Tensor& flow) const;

 private:
  double scale_;
  at::Tensor negative_;
  int64_t text_len_;
};

/// What the passes over one chunk share.
struct GuidedPasses {
  const at::Tensor& text;  // of both halves: Guidance::text
  const PreparedPlan& plan;
  const std::vector<LayerKv>& window;
  PassCache& pass_cache;
  ChunkCache* chunk_cache = nullptr;
};

/// The guided flow of x [B, F, C, H, W] at one timestep (0 to 1000) for all frames: one pass over
/// both halves, in the cheaper form of latent attention, without gradients.
at::Tensor guided_flow(const Network& network,
                       const Guidance& guidance,
                       const at::Tensor& x_BFCHW,
                       double timestep,
                       const GuidedPasses& passes);

}  // namespace vmla::model
