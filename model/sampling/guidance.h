#pragma once

#include "model/network/wan_dit.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace vmla::model {

/// Classifier-free guidance, v_neg + w (v_pos − v_neg), in one pass of 2B: the positive batch and,
/// behind it, the negative one. With w = 1 there is no negative half.
class Guidance {
 public:
  /// negative_text [1, T, E] may be undefined with a scale of 1.
  Guidance(double scale, const at::Tensor& negative_text_1TE, int64_t text_len);

  /// The texts of both halves, padded to one length.
  at::Tensor text(const at::Tensor& positive_BTE) const;
  /// The same input for both halves.
  at::Tensor repeat(const at::Tensor& x) const;
  /// The guided flow of the two halves'.
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
  CrossCache& cross_cache;
};

/// The guided flow of x [B, F, C, H, W] at one timestep (0 to 1000) for all frames: one pass over
/// both halves, in the cheaper form of latent attention, without gradients.
at::Tensor guided_flow(const Network& network,
                       const Guidance& guidance,
                       const at::Tensor& x_BFCHW,
                       double timestep,
                       const GuidedPasses& passes);

}  // namespace vmla::model
