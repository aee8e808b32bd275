#include "model/codec/wan_vae/vae_layers.h"

#include <ATen/ATen.h>

#include "kernels/rms_norm/rms_norm.h"
#include "model/codec/frame_layers.h"

namespace vmla::model {
namespace {

/// x / max(||x||, 1e-12) sqrt(C) gain over the channels, which is an RMS norm with next to no eps.
at::Tensor norm(const at::Tensor& x_HWC, const at::Tensor& gain) {
  const double eps = 1e-24 / static_cast<double>(x_HWC.size(2));
  return kernels::rms_norm(x_HWC, gain, eps);
}

/// The three parts of a kernel over frames, each applied to the frame: [H, W, 3 out], without bias.
at::Tensor three_parts(const VaeConv& conv, const at::Tensor& x_HWC) {
  return conv.weight.dim() == 2 ? at::linear(x_HWC, conv.weight)
                                : conv_hw(x_HWC, conv.weight, {}, 1, 1);
}

/// A causal convolution with a kernel of three frames; frames before the first are zeros.
at::Tensor causal_conv(const VaeConv& conv, const at::Tensor& x_HWC, VaeStream& stream) {
  VaeLayerState& state = stream.layers[&conv];
  const auto parts = three_parts(conv, x_HWC).chunk(3, /*dim=*/2);
  // The bias is added where an output begins to be summed up.
  if (!state.due.defined()) {
    state.due = at::add(parts[1], conv.bias);
    state.later = at::add(parts[0], conv.bias);
    return at::add(parts[2], conv.bias);
  }
  at::Tensor out = at::add(parts[2], state.due);
  at::add_out(state.due, parts[1], state.later);
  at::add_out(state.later, parts[0], conv.bias);
  return out;
}

at::Tensor residual_block(const VaeResidual& w, at::Tensor x_HWC, VaeStream& stream) {
  at::Tensor h = norm(x_HWC, w.norm1);
  if (w.shortcut.weight.defined()) x_HWC = at::linear(x_HWC, w.shortcut.weight, w.shortcut.bias);
  h = causal_conv(w.conv1, at::silu_(h), stream);
  h = norm(h, w.norm2);
  h = causal_conv(w.conv2, at::silu_(h), stream);
  return h.add_(x_HWC);
}

/// Every position of the frame attends to all of them.
at::Tensor attention_block(const VaeMiddle& w, const at::Tensor& x_HWC) {
  const int64_t width = x_HWC.size(2);
  const auto qkv = at::linear(norm(x_HWC, w.norm), w.qkv.weight, w.qkv.bias)
                       .view({1, 1, -1, 3 * width})
                       .chunk(3, /*dim=*/3);
  const at::Tensor mixed = at::scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]);
  return at::linear(mixed.reshape(x_HWC.sizes()), w.proj.weight, w.proj.bias).add_(x_HWC);
}

at::Tensor middle_block(const VaeMiddle& w, at::Tensor x_HWC, VaeStream& stream) {
  x_HWC = residual_block(w.before, std::move(x_HWC), stream);
  x_HWC = attention_block(w, x_HWC);
  return residual_block(w.after, std::move(x_HWC), stream);
}

at::Tensor output_head(const at::Tensor& gain,
                       const VaeConv& conv,
                       const at::Tensor& x_HWC,
                       VaeStream& stream) {
  at::Tensor h = norm(x_HWC, gain);
  return causal_conv(conv, at::silu_(h), stream);
}

/// One frame into two, but the first, which stays one and is no history of the others.
std::vector<at::Tensor> twice_the_frames(const VaeConv& conv,
                                         const at::Tensor& x_HWC,
                                         VaeStream& stream) {
  if (stream.layers[&conv].frames++ == 0) return {x_HWC};
  const auto halves = causal_conv(conv, x_HWC, stream).chunk(2, /*dim=*/2);
  return {halves[0].contiguous(), halves[1].contiguous()};
}

/// Two frames into one, but the first, which stays as it is. An output is made of the frame before
/// its two and of these. Undefined for the first of two.
at::Tensor half_the_frames(const VaeConv& conv, const at::Tensor& x_HWC, VaeStream& stream) {
  VaeLayerState& state = stream.layers[&conv];
  const auto parts = three_parts(conv, x_HWC).chunk(3, /*dim=*/2);
  const int64_t frame = state.frames++;
  if (frame % 2 == 1) {
    state.due.add_(parts[1]);
    return {};
  }
  at::Tensor out = frame == 0 ? x_HWC : at::add(parts[2], state.due);
  state.due = at::add(parts[0], conv.bias);
  return out;
}

at::Tensor twice_the_size(const VaeConv& conv, const at::Tensor& x_HWC) {
  return conv_hw(twice_as_large(x_HWC), conv.weight, conv.bias, /*stride=*/1, /*padding=*/1);
}

at::Tensor half_the_size(const VaeConv& conv, const at::Tensor& x_HWC) {
  // One row and one column of zeros, at the bottom and on the right alone.
  const at::Tensor padded = at::constant_pad_nd(x_HWC, {0, 0, 0, 1, 0, 1});
  return conv_hw(padded, conv.weight, conv.bias, /*stride=*/2, /*padding=*/0);
}

/// The decoder from level `index` on: each frame goes all the way before the next is begun, so that
/// the large levels never hold more than one.
void decode_levels(const VaeDecoderWeights& w,
                   size_t index,
                   at::Tensor x_HWC,
                   VaeStream& stream,
                   const std::function<void(const at::Tensor&)>& emit) {
  const VaeLevel& level = w.levels[index];
  for (const VaeResidual& block : level.blocks) {
    x_HWC = residual_block(block, std::move(x_HWC), stream);
  }
  if (!level.resample.weight.defined()) {
    emit(output_head(w.head_norm, w.head, x_HWC, stream));
    return;
  }
  std::vector<at::Tensor> frames = {std::move(x_HWC)};
  if (level.time.weight.defined()) frames = twice_the_frames(level.time, frames[0], stream);
  for (at::Tensor& frame : frames) {
    at::Tensor large = twice_the_size(level.resample, frame);
    frame.reset();
    decode_levels(w, index + 1, std::move(large), stream, emit);
  }
}

}  // namespace

void decode_frame(const VaeDecoderWeights& weights,
                  const at::Tensor& latent_hwC,
                  VaeStream& stream,
                  const std::function<void(const at::Tensor&)>& emit) {
  const auto& in = weights.unquantize;
  at::Tensor x = causal_conv(weights.conv_in, at::linear(latent_hwC, in.weight, in.bias), stream);
  x = middle_block(weights.middle, std::move(x), stream);
  decode_levels(weights, 0, std::move(x), stream, emit);
}

at::Tensor encode_frame(const VaeEncoderWeights& weights,
                        const at::Tensor& pixels_HW3,
                        VaeStream& stream) {
  at::Tensor x = causal_conv(weights.conv_in, pixels_HW3, stream);
  for (const VaeLevel& level : weights.levels) {
    for (const VaeResidual& block : level.blocks) {
      x = residual_block(block, std::move(x), stream);
    }
    if (!level.resample.weight.defined()) continue;
    x = half_the_size(level.resample, x);
    if (level.time.weight.defined()) x = half_the_frames(level.time, x, stream);
    if (!x.defined()) return {};
  }
  x = middle_block(weights.middle, std::move(x), stream);
  x = output_head(weights.head_norm, weights.head, x, stream);
  x = at::linear(x, weights.quantize.weight, weights.quantize.bias);
  return x.narrow(2, 0, x.size(2) / 2);  // without the log-variance
}

}  // namespace vmla::model
