#include "model/codec/latent_scale.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/codec/latent_statistics.h"

namespace vmla::model {
namespace {

at::Tensor row(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble);
}

/// How far channels are from mean 0 and deviation 1: 0 if they are there. A deviation off by a
/// factor e in all channels is 1, and so is a mean off by a deviation.
double distance(const at::Tensor& mean_C, const at::Tensor& deviation_C) {
  return (mean_C.square() + deviation_C.clamp_min(1e-6).log().square()).mean().item<double>();
}

}  // namespace

void ChannelStatistics::add(const at::Tensor& latents) {
  const at::Tensor by_channel = latents.movedim(-3, 0).flatten(1).to(at::kDouble);
  const at::Tensor sum = by_channel.sum(1), squares = by_channel.square().sum(1);
  sum_C_ = count_ == 0 ? sum : sum_C_ + sum;
  squares_C_ = count_ == 0 ? squares : squares_C_ + squares;
  count_ += by_channel.size(1);
}

int64_t ChannelStatistics::channels() const {
  return count_ == 0 ? 0 : sum_C_.size(0);
}

at::Tensor ChannelStatistics::mean() const {
  return sum_C_ / count_;
}

at::Tensor ChannelStatistics::deviation() const {
  return (squares_C_ / count_ - mean().square()).clamp_min(0).sqrt();
}

LatentScale latent_scale(const ChannelStatistics& statistics) {
  constexpr double kFarAway = 1.0;
  // Footage of one kind may be some way off, so a mistake must explain most of what is off.
  constexpr double kClearly = 0.5;
  const LatentStatistics wan = LatentStatistics::wan21();
  if (statistics.channels() != static_cast<int64_t>(wan.mean.size())) return LatentScale::kUnknown;
  const at::Tensor mean = statistics.mean(), deviation = statistics.deviation();
  const at::Tensor wan_mean = row(wan.mean), wan_deviation = row(wan.deviation);
  const double normalised = distance(mean, deviation);
  const double raw = distance((mean - wan_mean) / wan_deviation, deviation / wan_deviation);
  const double twice = distance(mean * wan_deviation + wan_mean, deviation * wan_deviation);
  const double least = std::min({normalised, raw, twice});
  if (least > kFarAway) return LatentScale::kUnknown;
  if (least == normalised) return LatentScale::kNormalised;
  if (least > kClearly * normalised) return LatentScale::kUnknown;
  return least == raw ? LatentScale::kRaw : LatentScale::kNormalisedTwice;
}

LatentScale latent_scale(const at::Tensor& latents) {
  ChannelStatistics statistics;
  statistics.add(latents);
  return latent_scale(statistics);
}

at::Tensor normalised_latents(const at::Tensor& latents) {
  return LatentStatistics::wan21().normalised(latents.movedim(-3, -1)).movedim(-1, -3).contiguous();
}

}  // namespace vmla::model
