#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/codec/space_to_depth_codec.h"
#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

at::Tensor random_pixels(at::IntArrayRef sizes) {
  at::manual_seed(1);
  return at::rand(sizes) * 2 - 1;
}

TEST(SpaceToDepth, DecodingReturnsThePixels) {
  for (const int64_t block : {1, 2, 3, 4, 8}) {
    const auto codec = make_video_codec(formatted("space_to_depth:{}", block));
    const at::Tensor pixels = random_pixels({3, 3, 2 * block, 5 * block});
    const at::Tensor latents = codec->encode(pixels);
    EXPECT_EQ(latents.sizes(), (at::IntArrayRef{3, 3 * block * block, 2, 5}));
    EXPECT_EQ(codec->latent_channels(), 3 * block * block);
    EXPECT_EQ(codec->pixel_frames(7), 7);
    // Two products with C terms of size ≤ kScale·1.7 in fp32.
    const double bound = 4 * std::sqrt(3.0 * static_cast<double>(block * block)) * 6e-8 * 4;
    EXPECT_LT((codec->decode(latents) - pixels).abs().max().item<double>(), bound);
  }
}

TEST(SpaceToDepth, TheTransformIsOrthogonalAndChannelZeroIsTheMean) {
  const SpaceToDepthCodec codec(2);
  const at::Tensor pixels = random_pixels({2, 3, 8, 8});
  const at::Tensor latents = codec.encode(pixels);
  const double energy =
      (pixels.to(at::kDouble) - SpaceToDepthCodec::kMean).pow(2).sum().item<double>() *
      std::pow(SpaceToDepthCodec::kScale, 2);
  EXPECT_NEAR(latents.to(at::kDouble).pow(2).sum().item<double>() / energy, 1, 1e-5);
  const at::Tensor mean = pixels.mean(1).view({2, 4, 2, 4, 2}).mean(at::IntArrayRef{2, 4});
  const at::Tensor expected =
      (mean - SpaceToDepthCodec::kMean) * SpaceToDepthCodec::kScale * std::sqrt(12.0);
  EXPECT_LT((latents.select(1, 0) - expected).abs().max().item<double>(), 1e-5);
}

TEST(SpaceToDepth, BadNamesAndSizesAreTheUsersErrors) {
  for (const char* name : {"space_to_depth:", "space_to_depth:0", "space_to_depth:2x", "vae", ""}) {
    const std::string text = error_of<UserError>([&] { make_video_codec(name); });
    EXPECT_NE(text.find("space_to_depth:N"), std::string::npos) << text;
  }
  const SpaceToDepthCodec codec(2);
  EXPECT_THROW(codec.encode(random_pixels({1, 3, 5, 4})), UserError);
  EXPECT_NE(make_video_codec("space_to_depth:2")->hash(),
            make_video_codec("space_to_depth:4")->hash());
}

TEST(HashingText, WordsHaveVectorsOfTheirOwn) {
  const auto text = make_text_encoder("hashing:32x8");
  const at::Tensor a = text->encode("a red circle moves left"),
                   b = text->encode("A RED square, moves left!");
  EXPECT_EQ(a.sizes(), (at::IntArrayRef{5, 32}));
  EXPECT_TRUE(at::equal(a[1], b[1]));
  EXPECT_TRUE(at::equal(a[4], b[4]));
  EXPECT_FALSE(at::equal(a[2], b[2]));
  const at::Tensor empty = text->encode("");
  EXPECT_EQ(empty.sizes(), (at::IntArrayRef{1, 32}));
  EXPECT_TRUE(at::equal(empty, text->encode(" ,. ")));
  EXPECT_EQ(text->encode("one two three four five six seven eight nine").size(0), 8);
}

TEST(HashingText, VectorsHaveUnitVariance) {
  const auto text = make_text_encoder("hashing:4096x2");
  const at::Tensor row = text->encode("red")[0];
  // Standard errors over 4096 draws: 1/64 of the mean, √2/64 of the variance; five of them.
  EXPECT_NEAR(row.mean().item<double>(), 0, 5.0 / 64);
  EXPECT_NEAR(row.var().item<double>(), 1, 5 * 1.42 / 64);
}

TEST(HashingText, BadNamesAreTheUsersErrors) {
  for (const char* name : {"hashing:32", "hashing:0x8", "hashing:32x0", "hashing:32x8x", "umt6"}) {
    EXPECT_NE(error_of<UserError>([&] { make_text_encoder(name); }).find("hashing:DxT"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace vmla::model
