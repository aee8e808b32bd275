#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "data/store/latent_dataset.h"
#include "tests/data/encode/shape_videos.h"
#include "tests/data/video/decoded_video.h"
#include "tests/data/video/rotated_video.h"

namespace vmla::data {
namespace {

TEST(EncodeSizes, AVideoIsAsHighAsItIsShown) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "v");
  const at::Tensor wide = render_clips({draw_clip(5, 3, false, 9)}, 9, 128)[0].narrow(2, 0, 64);
  for (const int degrees : {0, 90, 180, 270}) {
    const std::string name = formatted("v/{:03}.mp4", degrees);
    write_video(folder / name, wide, 8);
    set_rotation(folder / name, degrees);
  }
  EncodeOptions options = encode_options(folder / "v", folder / "clips");
  options.sizes = {{.height = 16, .width = 32}, {.height = 32, .width = 16}};
  EXPECT_EQ(encode_videos(options).clips, 4);
  const auto files_of = [&](const char* name) {
    const LatentDataset dataset(folder / "clips" / name);
    std::string files;
    for (int64_t i = 0; i < dataset.size(); ++i) files += dataset.record(i).source_file + " ";
    return files;
  };
  EXPECT_EQ(files_of("16x32.h5"), "000.mp4 180.mp4 ");
  EXPECT_EQ(files_of("32x16.h5"), "090.mp4 270.mp4 ");
  // Upright pictures fill the size: what is turned back is the same clip.
  const at::Tensor plain = LatentDataset(folder / "clips/16x32.h5").latents(0);
  const at::Tensor turned = LatentDataset(folder / "clips/32x16.h5").latents(0);
  EXPECT_EQ(turned.size(2), plain.size(3));
  EXPECT_NEAR(turned.mean().item<double>(), plain.mean().item<double>(), 0.02);
}

}  // namespace
}  // namespace vmla::data
