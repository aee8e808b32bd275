#include "data/import/latent_scale.h"

#include <ATen/ATen.h>

#include "model/codec/latent_statistics.h"

namespace vmla::data {
namespace {

/// How far the channels of [C, n] are from mean 0 and deviation 1: 0 if they are there. A deviation
/// off by a factor e in all channels is 1, and so is a mean off by a deviation.
double distance(const at::Tensor& channels_Cn) {
  const at::Tensor mean = channels_Cn.mean(1), deviation = channels_Cn.std(1).clamp_min(1e-6);
  return (mean.square() + deviation.log().square()).mean().item<double>();
}

}  // namespace

at::Tensor normalised_latents(const at::Tensor& latents) {
  return model::LatentStatistics::wan21()
      .normalised(latents.movedim(-3, -1))
      .movedim(-1, -3)
      .contiguous();
}

LatentScale latent_scale(const at::Tensor& latents) {
  constexpr double kFarAway = 1.0;
  const auto channels = static_cast<int64_t>(model::LatentStatistics::wan21().mean.size());
  if (latents.size(-3) != channels) return LatentScale::kUnknown;
  const auto by_channel = [](const at::Tensor& x) {
    return x.to(at::kDouble).movedim(-3, 0).flatten(1);
  };
  const double as_they_are = distance(by_channel(latents));
  const double when_normalised = distance(by_channel(normalised_latents(latents)));
  if (as_they_are > kFarAway && when_normalised > kFarAway) return LatentScale::kUnknown;
  return as_they_are <= when_normalised ? LatentScale::kNormalised : LatentScale::kRaw;
}

}  // namespace vmla::data
