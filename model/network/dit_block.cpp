#include "model/network/dit_block.h"

#include "kernels/gelu/gelu.h"
#include "kernels/modulate/modulate.h"
#include "model/network/attention_tap.h"
#include "model/network/kept_tensor.h"
#include "model/network/projection.h"

#include <ATen/ATen.h>

namespace vmla::model {

BlockOut dit_block(const DitBlockWeights& w,
                   const at::Tensor& x_BFSD,
                   const BlockInputs& in,
                   const BlockSettings& settings) {
  const ModelConfig& config = settings.config;
  const LayerDims dims = layer_dims(config, settings.layer);
  // Products are in the matrices' dtype; the residual sum that they add to keeps its own.
  const auto product_dtype = w.ffn_in_weight.scalar_type();
  const int64_t batch = x_BFSD.size(0), tokens = x_BFSD.size(2), width = x_BFSD.size(3);

  const at::Tensor modulation_BF6D = kept_or_made(settings.kept.modulation_BF6D, [&] {
    return in.modulation_BF6D + w.modulation.unsqueeze(1);
  });
  // [B, F, D] each: shift, scale and gate of self-attention, then of the feed-forward network.
  auto m = modulation_BF6D.unbind(2);

  const SelfAttentionArgs args{.dims = dims,
                               .plan = settings.plan,
                               .layer = settings.layer,
                               .eps = config.eps,
                               .latent_norm_eps = config.latent_norm_eps,
                               .only_output = settings.only_output,
                               .kv_only = settings.kv_only,
                               .window = in.window,
                               .form = settings.form,
                               .sequence = settings.sequence,
                               .exchange_heads = settings.exchange_heads,
                               .kept_attention = settings.kept_attention,
                               .kept = settings.kept};
  const at::Tensor normed_BLD =
      kernels::layer_norm_modulate(x_BFSD, m[0], m[1], config.eps, product_dtype).flatten(1, 2);
  AttentionTap::show(settings.layer, normed_BLD);
  const SelfAttentionOut attention = std::visit(
      [&](const auto& a) {
        if constexpr (std::is_same_v<std::decay_t<decltype(a)>, MlaAttentionWeights>) {
          return mla_attention(a, normed_BLD, args);
        } else {
          return dense_attention(a, normed_BLD, args);
        }
      },
      w.self_attn);
  if (settings.kv_only) return {{}, attention.kv};

  // From here on only the frames whose flow is wanted, where this is the last layer.
  at::Tensor x = x_BFSD;
  if (settings.only_output && settings.plan.plan.output_begin > 0) {
    const int64_t begin = settings.plan.plan.output_begin, count = x.size(1) - begin;
    x = x.narrow(1, begin, count);
    for (auto& part : m) part = part.narrow(1, begin, count);
  }
  const int64_t frames = x.size(1);
  const auto as_frames = [&](const at::Tensor& y_BLD) {
    return y_BLD.view({batch, frames, tokens, width});
  };
  const auto for_frames = [&](const at::Tensor& row_D) {
    return row_D.expand({batch, frames, width});
  };
  const kernels::ResidualNorm attended =
      kernels::residual_norm({.x_BFSD = x,
                              .update_BFSD = as_frames(attention.out_BLD),
                              .gate_BFD = m[2],
                              .shift_BFD = for_frames(w.norm3_bias),
                              .scale_BFD = for_frames(w.norm3_weight),
                              .scale_is = kernels::ScaleIs::kGain,
                              .eps = config.eps,
                              .dtype = product_dtype});
  const at::Tensor cross_in = attended.norm_BFSD.flatten(1, 2);
  const CrossKv text =
      in.cross_kv ? *in.cross_kv
                  : cross_attention_kv(w.cross_attn, in.context_BTD, config.num_heads, config.eps);
  const at::Tensor of_text = cross_attention(
      w.cross_attn, cross_in, text, config.num_heads, config.eps, settings.kept_attention);
  const kernels::ResidualNorm with_text =
      kernels::residual_norm({.x_BFSD = attended.sum_BFSD,
                              .update_BFSD = as_frames(of_text),
                              .gate_BFD = {},
                              .shift_BFD = m[3],
                              .scale_BFD = m[4],
                              .scale_is = kernels::ScaleIs::kChange,
                              .eps = config.eps,
                              .dtype = product_dtype});
  const at::Tensor hidden = kernels::gelu_tanh(
      project(with_text.norm_BFSD.flatten(1, 2), w.ffn_in_weight, w.ffn_in_bias));
  x = kernels::gated_residual(
      with_text.sum_BFSD, as_frames(project(hidden, w.ffn_out_weight, w.ffn_out_bias)), m[5]);
  return {x, attention.kv};
}

}  // namespace vmla::model
