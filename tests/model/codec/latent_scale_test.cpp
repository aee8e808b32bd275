#include "model/codec/latent_scale.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/codec/latent_statistics.h"

namespace vmla::model {
namespace {

/// [2, 5, 16, 6, 6], independent numbers.
at::Tensor drawn(double mean, double deviation) {
  at::manual_seed(7);
  return at::randn({2, 5, 16, 6, 6}).mul_(deviation).add_(mean);
}

at::Tensor raw_of(const at::Tensor& normalised) {
  return LatentStatistics::wan21().restored(normalised.movedim(-3, -1)).movedim(-1, -3);
}

TEST(LatentScale, TellsMistakesApart) {
  const at::Tensor x = drawn(0, 1);
  EXPECT_EQ(latent_scale(x), LatentScale::kNormalised);
  EXPECT_EQ(latent_scale(raw_of(x)), LatentScale::kRaw);
  EXPECT_EQ(latent_scale(normalised_latents(x)), LatentScale::kNormalisedTwice);
  EXPECT_EQ(latent_scale(normalised_latents(raw_of(x))), LatentScale::kNormalised);
  EXPECT_EQ(latent_scale(x.narrow(-3, 0, 12)), LatentScale::kUnknown) << "not of Wan's VAE";
}

TEST(LatentScale, FootageOfOneKindIsNoMistake) {
  // Smaller, larger and moved, the same in all channels: a mistake moves each in its own way.
  // (Twice as large is what most raw channels are.)
  for (const double deviation : {0.5, 0.7, 1.0, 1.5}) {
    for (const double mean : {-0.3, 0.0, 0.3}) {
      const LatentScale scale = latent_scale(drawn(mean, deviation));
      EXPECT_TRUE(scale == LatentScale::kNormalised || scale == LatentScale::kUnknown)
          << mean << " " << deviation;
    }
  }
  EXPECT_EQ(latent_scale(at::zeros({2, 16, 4, 4})), LatentScale::kUnknown) << "a still picture";
}

TEST(LatentScale, SumsOverSeveralClips) {
  const at::Tensor x = raw_of(drawn(0, 1));
  ChannelStatistics statistics;
  for (int64_t i = 0; i < 2; ++i) statistics.add(x[i].to(at::kBFloat16));
  EXPECT_EQ(statistics.channels(), 16);
  const at::Tensor by_channel = x.to(at::kBFloat16).to(at::kDouble).movedim(-3, 0).flatten(1);
  EXPECT_TRUE(at::allclose(statistics.mean(), by_channel.mean(1)));
  EXPECT_TRUE(at::allclose(statistics.deviation(), by_channel.std(1, /*unbiased=*/false)));
  EXPECT_EQ(latent_scale(statistics), LatentScale::kRaw);
}

}  // namespace
}  // namespace vmla::model
