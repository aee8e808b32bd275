// Tiles of the VAE (docs/algorithms.md 17.5): how they are mixed, and how far their edges reach.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/codec/tiled_frames.h"
#include "model/codec/wan_vae/wan_vae.h"
#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "tests/model/codec/small_vae.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

TEST(TileSpans, CoverAllAndOverlap) {
  EXPECT_EQ(tile_spans(7, 0, 1), (std::vector<TileSpan>{{0, 7}}));
  EXPECT_EQ(tile_spans(7, 8, 2), (std::vector<TileSpan>{{0, 7}}));
  EXPECT_EQ(tile_spans(20, 8, 2), (std::vector<TileSpan>{{0, 8}, {6, 8}, {12, 8}}));
  EXPECT_EQ(tile_spans(21, 8, 2), (std::vector<TileSpan>{{0, 8}, {6, 8}, {12, 8}, {13, 8}}));
}

// A codec whose frames depend on their own place alone gives the same with and without tiles.
TEST(TiledFrames, BlendToTheWholePictureWhereTilesAgree) {
  TiledFrames frames;
  frames.geometry = {.latent_channels = 2, .spatial_factor = 2, .temporal_factor = 1};
  frames.new_decoder = [] {
    return [](const at::Tensor& latent, const auto& emit) {
      emit(at::cat({latent, latent.narrow(2, 0, 1)}, 2)
               .repeat_interleave(2, 0)
               .repeat_interleave(2, 1));
    };
  };
  frames.new_encoder = [] {
    return [](const at::Tensor& pixels) {
      return pixels.slice(0, 0, pixels.size(0), 2).slice(1, 0, pixels.size(1), 2).narrow(2, 0, 2);
    };
  };
  at::manual_seed(1);
  const at::Tensor latents = at::randn({3, 2, 21, 13});
  const at::Tensor whole = frames.decode(latents);
  frames.tile = 8;
  const at::Tensor tiled = frames.decode(latents);
  // Shares, of rows and of columns, add up to 1; the largest latent is about 4.
  EXPECT_LT((tiled - whole).abs().max().item<double>(), 4 * 6e-8 * 4);
  const auto decoder = frames.start_decoding();
  const at::Tensor first = decoder->next(latents.narrow(0, 0, 1));
  EXPECT_TRUE(at::equal(at::cat({first, decoder->next(latents.narrow(0, 1, 2))}), tiled));
  EXPECT_LT((frames.encode(whole) - latents).abs().max().item<double>(), 4 * 6e-8 * 4);
}

// Two tiles of 40 latent columns over 48: the first begins at 0, the second at 8.
constexpr int64_t kTile = 40, kBegin = 8, kWidth = 48, kOverlap = kTile / 4;
// Positions that the zeros behind a tile's edge reach: of the decoder 12 1/4 from the level of the
// lowest resolution on, of the encoder 4 + 4 + 1 there (convolutions of the last level, the middle
// and the head) and (4 + 1) / 2, (4 + 1) / 4 and (5 + 1) / 8 at the levels before.
constexpr int64_t kDecoderReach = 13, kEncoderReach = 14;
// fp32: some sixty layers of rounding, sums in another order.
constexpr double kRounding = 1e-4;

double largest(const at::Tensor& x) {
  return x.abs().max().item<double>();
}

struct VaeTiles : testing::Test {
  /// With `attention`, every position of a tile sees the others, so tiles differ everywhere.
  std::filesystem::path weights(bool attention) const {
    TensorMap tensors = small_vae_tensors(small_vae_sizes());
    for (auto& [name, tensor] : tensors) {
      if (!attention && name.find("middle.1.proj") != std::string::npos) tensor.zero_();
    }
    const std::filesystem::path file = folder.path() / "vae.safetensors";
    write_safetensors(file, tensors);
    return file;
  }
  static std::unique_ptr<VideoCodec> codec(const std::filesystem::path& file, int64_t tile) {
    return make_wan_vae({.weights = file, .tile = 8 * tile});
  }
  /// What the second tile counts at each output column, by the definition.
  static at::Tensor share_of_second(int64_t scale) {
    at::Tensor shares = at::zeros({kWidth * scale}, at::kDouble);
    const auto overlap = static_cast<double>(kOverlap * scale);
    for (int64_t x = kBegin * scale; x < kWidth * scale; ++x) {
      const auto into_second = static_cast<double>(x - kBegin * scale) + 0.5;
      const auto into_first = static_cast<double>(kTile * scale - x) - 0.5;
      const double second = std::min(1.0, into_second / overlap);
      const double first = std::clamp(into_first / overlap, 0.0, 1.0);
      shares[x] = second / (first + second);
    }
    return shares;
  }
  /// `first` and `second` at their places of the whole, mixed.
  static at::Tensor mixed(const at::Tensor& first, const at::Tensor& second, int64_t scale) {
    const at::Tensor share = share_of_second(scale);
    const int64_t beside = kBegin * scale;
    return (at::constant_pad_nd(first, {0, beside}) * (1 - share) +
            at::constant_pad_nd(second, {beside, 0}) * share)
        .to(at::kFloat);
  }

  const TemporaryFolder folder;
  const at::Tensor latents = [] {
    at::manual_seed(5);
    return at::randn({3, 16, 2, kWidth});
  }();
  const at::Tensor pixels = [] {
    at::manual_seed(6);
    return at::rand({5, 3, 16, 8 * kWidth}) * 2 - 1;
  }();
};

TEST_F(VaeTiles, AreEachDoneAloneAndMixed) {
  const auto file = weights(/*attention=*/true);
  const auto whole = codec(file, 0), tiled = codec(file, kTile);
  const at::Tensor decoded = tiled->decode(latents), encoded = tiled->encode(pixels);
  EXPECT_LT(largest(decoded - mixed(whole->decode(latents.narrow(3, 0, kTile)),
                                    whole->decode(latents.narrow(3, kBegin, kTile)),
                                    8)),
            1e-6);
  EXPECT_LT(largest(encoded - mixed(whole->encode(pixels.narrow(3, 0, 8 * kTile)),
                                    whole->encode(pixels.narrow(3, 8 * kBegin, 8 * kTile)),
                                    1)),
            1e-6 * largest(encoded));
  // Piece by piece too, to the bit.
  const auto decoder = tiled->start_decoding();
  const at::Tensor first = decoder->next(latents.narrow(0, 0, 1));
  EXPECT_TRUE(at::equal(at::cat({first, decoder->next(latents.narrow(0, 1, 2))}), decoded));
}

// Where no edge reaches, tiles are the whole picture; elsewhere no further from it than the share
// of the tile whose edge it is.
TEST_F(VaeTiles, AreCloseToTheWhole) {
  const auto file = weights(/*attention=*/false);
  const auto whole = codec(file, 0), tiled = codec(file, kTile);
  const auto check = [](const at::Tensor& error, const at::Tensor& bound, const char* what) {
    const at::Tensor by_column = error.abs().amax(at::IntArrayRef({0, 1, 2})).to(at::kDouble);
    EXPECT_LE((by_column - bound).max().item<double>(), kRounding) << what;
    EXPECT_GT(by_column.max().item<double>(), 10 * kRounding) << what << ": has no tiles";
  };
  // Of the second tile at its beginning, of the first at its end, none in between.
  const auto share_of_wrong = [](int64_t scale, int64_t reach) {
    const at::Tensor second = share_of_second(scale);
    at::Tensor share = at::zeros_like(second);
    const auto copy = [&](int64_t begin, int64_t end, const at::Tensor& from) {
      share.slice(0, begin * scale, end * scale).copy_(from.slice(0, begin * scale, end * scale));
    };
    copy(kBegin, kBegin + reach, second);
    copy(kTile - reach, kTile, 1 - second);
    return share;
  };
  // Two pixels in [-1, 1] are 2 apart at most.
  check(tiled->decode(latents) - whole->decode(latents),
        2 * share_of_wrong(8, kDecoderReach),
        "decoded");
  const at::Tensor latent = whole->encode(pixels);
  const double apart = 2 * std::max(largest(latent), largest(tiled->encode(pixels)));
  check(tiled->encode(pixels) - latent, apart * share_of_wrong(1, kEncoderReach), "encoded");
}

TEST_F(VaeTiles, OfOtherSizesAreRefused) {
  const auto file = weights(/*attention=*/true);
  for (const int64_t tile : {4, 20, 56, 65}) {
    EXPECT_NE(error_of<UserError>([&] {
                make_wan_vae({.weights = file, .tile = tile});
              }).find("multiple of 8"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace vmla::model
