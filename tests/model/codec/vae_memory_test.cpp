// How much memory the VAE takes: counted by LibTorch's allocator, to the byte, so that nothing
// depends on the machine.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/codec/wan_vae/wan_vae.h"
#include "tests/model/codec/small_vae.h"
#include "tests/support/allocation_log.h"
#include "tests/support/temporary_folder.h"

namespace vmla::model {
namespace {

using tests::peak_bytes_of;

constexpr int64_t kFloat = 4;  // bytes

struct VaeMemory : testing::Test {
  std::unique_ptr<VideoCodec> codec(int64_t tile) const {
    return make_wan_vae({.weights = file, .tile = tile});
  }
  /// Of a clip of so many latent frames, rows and columns.
  static int64_t decoding(const VideoCodec& vae, int64_t frames, int64_t height, int64_t width) {
    const at::Tensor latents = at::zeros({frames, 16, height, width});
    return peak_bytes_of([&] { vae.decode(latents); });
  }
  static int64_t encoding(const VideoCodec& vae, int64_t frames, int64_t height, int64_t width) {
    const at::Tensor pixels = at::zeros({4 * frames - 3, 3, 8 * height, 8 * width});
    return peak_bytes_of([&] { vae.encode(pixels); });
  }

  const TemporaryFolder folder;
  const std::filesystem::path file = write_small_vae(folder.path());
};

TEST_F(VaeMemory, DoesNotGrowWithTheFrames) {
  const auto vae = codec(/*tile=*/0);
  constexpr int64_t kMoreFrames = 65 - 17, kMoreLatents = 17 - 5, kHeight = 2, kWidth = 3;
  // The clip that is made, and nothing else.
  EXPECT_EQ(decoding(*vae, 17, kHeight, kWidth) - decoding(*vae, 5, kHeight, kWidth),
            kMoreFrames * 3 * 64 * kHeight * kWidth * kFloat);
  EXPECT_EQ(encoding(*vae, 17, kHeight, kWidth) - encoding(*vae, 5, kHeight, kWidth),
            kMoreLatents * 16 * kHeight * kWidth * kFloat);
}

TEST_F(VaeMemory, OfAStreamIsTheSameForEveryPiece) {
  const auto vae = codec(/*tile=*/64);
  const auto decoder = vae->start_decoding();
  const auto log = std::make_shared<tests::AllocationLog>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, log);
  const at::Tensor latents = at::zeros({1, 16, 8, 12});
  std::vector<int64_t> live, peaks;
  for (int piece = 0; piece < 9; ++piece) {
    log->peak = log->live;
    decoder->next(latents);
    live.push_back(log->live);
    peaks.push_back(log->peak);
  }
  // All layers have two frames of the past with the fourth latent frame.
  for (size_t i = 4; i < live.size(); ++i) {
    EXPECT_EQ(live[i], live[3]) << "piece " << i;
    EXPECT_EQ(peaks[i], peaks[4]) << "piece " << i;
  }
}

TEST_F(VaeMemory, IsBoundedByTheTile) {
  const auto tiled = codec(/*tile=*/64), whole = codec(/*tile=*/0);
  constexpr int64_t kFrames = 3, kHeight = 8, kNarrow = 14, kWide = 98;
  // A row of tiles that is 14 more long: the clip that is made is larger, and for each tile its
  // share of every column is kept.
  constexpr int64_t kTiles = 14, kColumns = 8 * 8;
  const int64_t pixels = 9 * 3 * 64 * kHeight * (kWide - kNarrow) * kFloat;
  const int64_t grown =
      decoding(*tiled, kFrames, kHeight, kWide) - decoding(*tiled, kFrames, kHeight, kNarrow);
  EXPECT_GE(grown, pixels);
  EXPECT_LE(grown, pixels + 2 * kTiles * kColumns * kFloat + kWide * 8 * 2 * 8);
  const int64_t latents = kFrames * 16 * kHeight * (kWide - kNarrow) * kFloat;
  const int64_t encoder_grown =
      encoding(*tiled, kFrames, kHeight, kWide) - encoding(*tiled, kFrames, kHeight, kNarrow);
  EXPECT_GE(encoder_grown, latents);
  EXPECT_LE(encoder_grown, latents + 2 * kTiles * 8 * kFloat + kWide * 2 * 8);
  // Without tiles it does grow: by the frames that layers keep.
  EXPECT_GT(decoding(*whole, kFrames, kHeight, kWide) - decoding(*whole, kFrames, kHeight, kNarrow),
            2 * pixels);
}

// At Wan's proportions, a quarter of its widths: what is copied are the kernels behind upsamplings,
// which are 16 / 9 as large as stored, those over time alone, and what is smaller. They are 1 / 13
// of the decoder and 1 / 50 of the encoder.
TEST_F(VaeMemory, OfWeightsIsTheirFile) {
  VaeSizes sizes{.encoder_in = 24, .decoder_in = 96};
  for (auto* widths : {&sizes.encoder, &sizes.decoder}) {
    for (int64_t& width : *widths) width /= 4;
  }
  for (int64_t& width : sizes.decoder_up) width /= 4;
  const std::filesystem::path quarter = folder.path() / "quarter.safetensors";
  write_safetensors(quarter, small_vae_tensors(sizes));
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(quarter));
  for (const bool encodes : {true, false}) {
    std::unique_ptr<VideoCodec> vae;
    EXPECT_LT(peak_bytes_of([&] {
                vae = make_wan_vae({.weights = quarter, .encodes = encodes, .decodes = !encodes});
              }),
              bytes / 10);
  }
}

}  // namespace
}  // namespace vmla::model
