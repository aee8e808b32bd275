#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace vmla::model {

/// What the statistics of some latents say.
enum class LatentScale { kNormalised, kRaw, kNormalisedTwice, kUnknown };

/// Sums over the values of each channel, from which their means and deviations follow.
class ChannelStatistics {
 public:
  /// Adds latents [.., C, H, W] of any float dtype on the CPU; all calls have the same C.
  void add(const at::Tensor& latents);
  int64_t channels() const;
  at::Tensor mean() const;       // [C], fp64
  at::Tensor deviation() const;  // [C], fp64

 private:
  at::Tensor sum_C_, squares_C_;  // fp64
  int64_t count_ = 0;             // values of a channel
};

/// Whether latents (several clips' at best) are normalised or as a Wan VAE computes them:
/// normalised ones have mean 0 and deviation 1 in each channel, roughly, raw ones those of
/// model/codec/latent_statistics.h, and those that were normalised twice what becomes of mean 0 and
/// deviation 1. The mean squares of the channels' means and of the logarithms of their deviations
/// are compared as they would be after the mistake is undone; a mistake is only found where these
/// are less than half of what they are without it. Unknown where nothing fits, and for another
/// number of channels than Wan's.
LatentScale latent_scale(const ChannelStatistics& statistics);
/// The same of latents [.., C, H, W].
LatentScale latent_scale(const at::Tensor& latents);

/// Raw latents [.., C, H, W] to normalised ones, fp32.
at::Tensor normalised_latents(const at::Tensor& latents);

}  // namespace vmla::model
