#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <unordered_map>

#include "model/codec/wan_vae/vae_weights.h"

/// The layers of Wan's video VAE (docs/algorithms.md 17), which take one frame after another. A
/// frame is [H, W, C], contiguous. What a layer remembers of the frames before lies in a VaeStream,
/// so that a video costs the same memory however long it is, and comes out the same, to the bit,
/// however its frames are handed in.
namespace vmla::model {

/// What a layer over three frames keeps: the last two inputs, or, where its outputs are the smaller
/// ones, what the inputs so far contribute to the next output and to the one after it.
struct VaeLayerState {
  int64_t frames = 0;       // seen by a layer that changes their number
  at::Tensor before, last;  // inputs, `last` the latest
  at::Tensor due, later;    // parts of outputs
};

/// All that is kept of one video between its frames.
struct VaeStream {
  std::unordered_map<const VaeConv*, VaeLayerState> layers;  // by layer
  /// Memory for the next frame of a size that has just been used: taking it from the system anew
  /// each time costs as much as a layer's norm.
  at::Tensor spare;
};

/// One latent frame, [h, w, C] (not normalised), into its pixel frames [8h, 8w, 3], one for the
/// first and four for each other, which `emit` takes one by one. `weights` are
/// prepared_decoder()'s, and stay in place while `stream` is used.
void decode_frame(const VaeDecoderWeights& weights,
                  const at::Tensor& latent_hwC,
                  VaeStream& stream,
                  const std::function<void(const at::Tensor&)>& emit);

/// One pixel frame, [H, W, 3], with H and W multiples of 8. Returns the mean of the latent frame
/// that it completes, [H/8, W/8, C] (not normalised): of the first, and of each fourth behind it;
/// undefined for all others.
at::Tensor encode_frame(const VaeEncoderWeights& weights,
                        const at::Tensor& pixels_HW3,
                        VaeStream& stream);

}  // namespace vmla::model
