#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace vmla::data {

/// What the statistics of some latents say.
enum class LatentScale { kNormalised, kRaw, kUnknown };

/// Whether latents [.., C, H, W] (several clips' at best) are normalised or as a Wan VAE computes
/// them: normalised ones have mean 0 and deviation 1 in each channel, roughly, raw ones those of
/// model/codec/latent_statistics.h. Compared are the mean squares of the channels' means and of the
/// logarithms of their deviations; unknown where neither fits, or for another number of channels.
LatentScale latent_scale(const at::Tensor& latents);

/// Raw latents [.., C, H, W] to normalised ones, fp32.
at::Tensor normalised_latents(const at::Tensor& latents);

}  // namespace vmla::data
