#include "model/codec/wan_vae/vae_layers.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/attention/attention.h"
#include "kernels/rms_norm/rms_norm.h"
#include "model/codec/frame_layers.h"

namespace vmla::model {
namespace {

/// x / max(||x||, 1e-12) sqrt(C) gain over the channels, which is an RMS norm with next to no eps.
at::Tensor norm(const at::Tensor& x_RC, const at::Tensor& gain) {
  const double eps = 1e-24 / static_cast<double>(x_RC.size(-1));
  return kernels::rms_norm(x_RC, gain, eps);
}

/// A frame's memory that nothing refers to any more: `stream`'s, or new.
at::Tensor frame_of_size(at::IntArrayRef sizes,
                         const at::TensorOptions& options,
                         VaeStream& stream) {
  if (stream.spare.defined() && stream.spare.sizes() == sizes) return std::move(stream.spare);
  stream.spare.reset();  // before the new one is taken
  return at::empty(sizes, options);
}

/// SiLU of the norm, written to `out`, which may be `x`.
void activate(const at::Tensor& x_HWC, const at::Tensor& gain, const at::Tensor& out_HWC) {
  const at::Tensor x = x_HWC.flatten(0, 1), out = out_HWC.flatten(0, 1);
  // Some rows at a time, which stay in a core's cache in between; a GPU takes all at once.
  const int64_t rows = x.is_cpu() ? std::max<int64_t>(1, (1 << 16) / x.size(1)) : x.size(0);
  const int64_t parts = (x.size(0) + rows - 1) / rows;
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * rows, count = std::min(rows, x.size(0) - first);
      at::Tensor target = out.narrow(0, first, count);
      at::silu_out(target, norm(x.narrow(0, first, count), gain));
    }
  });
}

/// Whether a layer keeps parts of outputs instead of inputs (prepared_encoder() lays out its weight
/// accordingly).
bool keeps_outputs(const VaeConv& conv) {
  return conv.weight.dim() == 4;
}

/// Adds a causal convolution of a frame to `out`. All three parts of the kernel are applied to it
/// at once.
void add_and_keep_outputs(const VaeConv& conv,
                          const at::Tensor& x_HWC,
                          const at::Tensor& out_HWC,
                          VaeLayerState& state) {
  const auto parts = conv_hw(x_HWC, conv.weight, {}, 1, 1).chunk(3, /*dim=*/2);
  out_HWC.add_(parts[2]).add_(conv.bias);
  if (state.due.defined()) out_HWC.add_(state.due);
  state.due = state.later.defined() ? at::add(parts[1], state.later) : parts[1].contiguous();
  state.later = parts[0].contiguous();
}

/// Adds what the frames before contribute; frames before the first are zeros. Returns the memory of
/// the oldest, which is not needed again; undefined if there is none.
at::Tensor add_past(const VaeConv& conv, const at::Tensor& out_HWC, VaeLayerState& state) {
  if (state.before.defined()) add_conv_3x3_(out_HWC, state.before, conv.weight[0], {});
  if (state.last.defined()) add_conv_3x3_(out_HWC, state.last, conv.weight[1], {});
  return std::exchange(state.before, std::move(state.last));
}

/// Adds a causal convolution with a kernel of three frames to `out`.
void add_causal_conv(const VaeConv& conv,
                     const at::Tensor& x_HWC,
                     const at::Tensor& out_HWC,
                     VaeStream& stream) {
  VaeLayerState& state = stream.layers[&conv];
  if (keeps_outputs(conv)) return add_and_keep_outputs(conv, x_HWC, out_HWC, state);
  add_past(conv, out_HWC, state);
  add_conv_3x3_(out_HWC, x_HWC, conv.weight[2], conv.bias);
  state.last = x_HWC;
}

/// add_causal_conv() of SiLU of the norm of `x`. `overwrites`: `x` is needed by nobody else, so its
/// memory may hold the result.
void add_activated_conv(const VaeConv& conv,
                        const at::Tensor& gain,
                        const at::Tensor& x_HWC,
                        bool overwrites,
                        const at::Tensor& out_HWC,
                        VaeStream& stream) {
  VaeLayerState& state = stream.layers[&conv];
  at::Tensor oldest;
  if (!keeps_outputs(conv)) oldest = add_past(conv, out_HWC, state);
  at::Tensor h = x_HWC;
  if (!overwrites && oldest.defined()) {
    h = std::exchange(oldest, {});
  } else if (!overwrites) {
    h = frame_of_size(x_HWC.sizes(), x_HWC.options(), stream);
  }
  activate(x_HWC, gain, h);
  if (keeps_outputs(conv)) {
    add_and_keep_outputs(conv, h, out_HWC, state);
    stream.spare = std::move(h);
    return;
  }
  add_conv_3x3_(out_HWC, h, conv.weight[2], conv.bias);
  state.last = std::move(h);
  if (oldest.defined()) stream.spare = std::move(oldest);
}

/// A frame of zeros as large as `like`, of the channels that `conv` makes.
at::Tensor zeros_for(const VaeConv& conv, const at::Tensor& like_HWC, VaeStream& stream) {
  return frame_of_size(
             {like_HWC.size(0), like_HWC.size(1), conv.bias.size(0)}, like_HWC.options(), stream)
      .zero_();
}

/// May overwrite `x`.
at::Tensor residual_block(const VaeResidual& w, at::Tensor x_HWC, VaeStream& stream) {
  const at::Tensor h = zeros_for(w.conv1, x_HWC, stream);
  add_activated_conv(w.conv1, w.norm1, x_HWC, /*overwrites=*/false, h, stream);
  if (w.shortcut.weight.defined()) x_HWC = at::linear(x_HWC, w.shortcut.weight, w.shortcut.bias);
  add_activated_conv(w.conv2, w.norm2, h, /*overwrites=*/true, x_HWC, stream);
  return x_HWC;
}

/// Every position of the frame attends to all of them.
at::Tensor attention_block(const VaeMiddle& w, const at::Tensor& x_HWC) {
  const int64_t width = x_HWC.size(2), positions = x_HWC.size(0) * x_HWC.size(1);
  const auto qkv = at::linear(norm(x_HWC, w.norm), w.qkv.weight, w.qkv.bias)
                       .view({1, positions, 1, 3 * width})
                       .chunk(3, /*dim=*/3);
  const at::Tensor mixed = kernels::segmented_attention(qkv[0],
                                                        qkv[1],
                                                        qkv[2],
                                                        {{.query_begin = 0,
                                                          .query_count = positions,
                                                          .key_begin = 0,
                                                          .value_begin = 0,
                                                          .key_count = positions}},
                                                        1 / std::sqrt(static_cast<double>(width)))
                               .out_BLNV;
  return at::linear(mixed.reshape(x_HWC.sizes()), w.proj.weight, w.proj.bias).add_(x_HWC);
}

at::Tensor middle_block(const VaeMiddle& w, at::Tensor x_HWC, VaeStream& stream) {
  x_HWC = residual_block(w.before, std::move(x_HWC), stream);
  x_HWC = attention_block(w, x_HWC);
  return residual_block(w.after, std::move(x_HWC), stream);
}

/// Overwrites `x`.
at::Tensor output_head(const at::Tensor& gain,
                       const VaeConv& conv,
                       const at::Tensor& x_HWC,
                       VaeStream& stream) {
  at::Tensor out = at::zeros({x_HWC.size(0), x_HWC.size(1), conv.bias.size(0)}, x_HWC.options());
  add_activated_conv(conv, gain, x_HWC, /*overwrites=*/true, out, stream);
  return out;
}

/// Adds x W^T at every position.
void add_linear(const at::Tensor& out_HWC, const at::Tensor& x_HWC, const at::Tensor& weight) {
  at::Tensor out = out_HWC.flatten(0, 1);
  out.addmm_(x_HWC.flatten(0, 1), weight.t());
}

/// `bias` at every position of a frame as large as `like`.
at::Tensor bias_everywhere(const at::Tensor& bias, const at::Tensor& like_HWC) {
  return bias.expand({like_HWC.size(0), like_HWC.size(1), bias.size(0)}).contiguous();
}

/// One frame into two, but the first, which stays one and is no history of the others. The frames
/// are the halves of a causal convolution's outputs. Keeps `x`.
std::vector<at::Tensor> twice_the_frames(const VaeConv& conv,
                                         const at::Tensor& x_HWC,
                                         VaeStream& stream) {
  VaeLayerState& state = stream.layers[&conv];
  if (state.frames++ == 0) return {x_HWC};
  const int64_t width = x_HWC.size(2);
  std::vector<at::Tensor> frames;
  for (const int64_t first : {int64_t{0}, width}) {
    const at::Tensor weight = conv.weight.narrow(1, first, width);
    at::Tensor out = bias_everywhere(conv.bias.narrow(0, first, width), x_HWC);
    if (state.before.defined()) add_linear(out, state.before, weight[0]);
    if (state.last.defined()) add_linear(out, state.last, weight[1]);
    add_linear(out, x_HWC, weight[2]);
    frames.push_back(std::move(out));
  }
  state.before = std::exchange(state.last, x_HWC);
  return frames;
}

/// Two frames into one, but the first, which stays as it is. An output is made of the frame before
/// its two and of these. Undefined for the first of two.
at::Tensor half_the_frames(const VaeConv& conv, const at::Tensor& x_HWC, VaeStream& stream) {
  VaeLayerState& state = stream.layers[&conv];
  const int64_t frame = state.frames++;
  if (frame % 2 == 1) {
    add_linear(state.due, x_HWC, conv.weight[1]);
    return {};
  }
  if (frame > 0) add_linear(state.due, x_HWC, conv.weight[2]);
  at::Tensor out = frame == 0 ? x_HWC : state.due;
  state.due = bias_everywhere(conv.bias, x_HWC);
  add_linear(state.due, x_HWC, conv.weight[0]);
  return out;
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
    at::Tensor large = upsampled_conv(frame, level.resample.weight, level.resample.bias);
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
  at::Tensor x = zeros_for(weights.conv_in, latent_hwC, stream);
  add_causal_conv(weights.conv_in, at::linear(latent_hwC, in.weight, in.bias), x, stream);
  x = middle_block(weights.middle, std::move(x), stream);
  decode_levels(weights, 0, std::move(x), stream, emit);
}

at::Tensor encode_frame(const VaeEncoderWeights& weights,
                        const at::Tensor& pixels_HW3,
                        VaeStream& stream) {
  at::Tensor x = zeros_for(weights.conv_in, pixels_HW3, stream);
  add_causal_conv(weights.conv_in, pixels_HW3, x, stream);
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
