#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace vmla::model {

/// The latents of Wan 2.1 have a mean and a deviation in each channel, which normalised latents,
/// the ones that models see and datasets hold, are without: normalised = (latent - mean) /
/// deviation.
struct LatentStatistics {
  std::vector<double> mean, deviation;

  /// The 16 channels of Wan 2.1.
  static LatentStatistics wan21();
  /// [..., C] in fp32, from a latent as the VAE computes it, and back.
  at::Tensor normalised(const at::Tensor& latent_C) const;
  at::Tensor restored(const at::Tensor& normalised_C) const;
};

}  // namespace vmla::model
