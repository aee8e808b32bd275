#include "model/sampling/guidance.h"

#include <ATen/ATen.h>

namespace vmla::model {

at::Tensor with_negative(const at::Tensor& text_BTE,
                         const at::Tensor& negative_text_1TE,
                         int64_t text_len) {
  const auto padded = [&](const at::Tensor& text) {
    return at::constant_pad_nd(text, {0, 0, 0, text_len - text.size(1)});
  };
  return at::cat({padded(text_BTE), padded(negative_text_1TE).expand({text_BTE.size(0), -1, -1})},
                 0);
}

Guidance::Guidance(double scale, const at::Tensor& negative_text_1TE, int64_t text_len)
    : scale_(scale), negative_(negative_text_1TE), text_len_(text_len) {
  TORCH_CHECK(
      scale == 1.0 || negative_.defined(), "guidance needs a negative prompt, scale: ", scale);
}

at::Tensor Guidance::text(const at::Tensor& positive_BTE) const {
  return scale_ == 1.0 ? positive_BTE : with_negative(positive_BTE, negative_, text_len_);
}

at::Tensor Guidance::repeat(const at::Tensor& x) const {
  return scale_ == 1.0 ? x : at::cat({x, x}, 0);
}

at::Tensor Guidance::combine(const at::Tensor& flow) const {
  if (scale_ == 1.0) return flow;
  const auto halves = flow.chunk(2, 0);
  return halves[1] + scale_ * (halves[0] - halves[1]);
}

at::Tensor guided_flow(const Network& network,
                       const Guidance& guidance,
                       const at::Tensor& x_BFCHW,
                       double timestep,
                       const GuidedPasses& passes) {
  const at::Tensor both = guidance.repeat(x_BFCHW);
  const ForwardOptions options{.pass_cache = &passes.pass_cache,
                               .chunk_cache = passes.chunk_cache,
                               .form = LatentForm::kCheaper};
  return guidance.combine(dit_forward(network,
                                      {both, same_time(both, timestep), passes.text},
                                      passes.plan,
                                      passes.window,
                                      options)
                              .flow_BFCHW);
}

}  // namespace vmla::model
