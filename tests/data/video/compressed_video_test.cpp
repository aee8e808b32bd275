#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/data/video/decoded_video.h"
#include "tests/data/video/rotated_video.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(CompressedVideo, EveryFormatSurvivesTheWayThroughAFile) {
  const TemporaryFolder folder;
  const at::Tensor clip = shape_clip(9, 128);
  for (const char* name : {"a.mp4", "a.mkv", "a.avi", "a.webm"}) {
    write_video(folder / name, clip, 8);
    const Decoded back = decode(folder / name, {128, 128, 8.0});
    ASSERT_EQ(back.outcome.problem, "") << name;
    ASSERT_EQ(back.frames.size(0), 9) << name;
    // Lossy at sharp edges; the mean error of these codecs on such pictures stays within a few
    // levels of 255.
    EXPECT_LT((back.frames - clip).abs().mean().item<double>() * 127.5, 6.0) << name;
    for (const auto& entry : fs::directory_iterator(folder.path())) {
      EXPECT_NE(entry.path().filename().string()[0], '.') << "left behind: " << entry.path();
    }
  }
}

TEST(CompressedVideo, RotationFlagsAreHonoured) {
  const TemporaryFolder folder;
  const at::Tensor clip =
      render_clips({draw_clip(5, 3, false, 3)}, 3, 128)[0].narrow(2, 0, 64);  // 64 x 128
  for (const int degrees : {0, 90, 180, 270}) {
    const fs::path path = folder / (formatted("{}", degrees) + ".mp4");
    write_video(path, clip, 8);
    set_rotation(path, degrees);
    const at::Tensor upright = clip.rot90(-degrees / 90, {2, 3});  // rot90 turns counter-clockwise
    const ReadOptions options = {upright.size(2), upright.size(3), 8.0};
    const Decoded back = decode(path, options);
    ASSERT_EQ(back.outcome.problem, "");
    EXPECT_LT((back.frames - upright).abs().mean().item<double>() * 127.5, 6.0) << degrees;
  }
}

TEST(CompressedVideo, UnreadableFilesAreNamedWithAReason) {
  const TemporaryFolder folder;
  write_video(folder / "good.mp4", shape_clip(30, 128), 8);
  const std::string good = file_bytes(folder / "good.mp4");
  write_bytes(folder / "truncated.mp4", good.substr(0, good.size() / 2));
  write_bytes(folder / "zeros.mp4", std::string(good.size(), '\0'));
  write_bytes(folder / "text.mp4", "this is not a video\n");
  std::string damaged = good;
  damaged.replace(300, 600, std::string(600, '\0'));
  write_bytes(folder / "damaged.mp4", damaged);

  DecoderProcess decoder(find_decoder_program());
  const auto problem = [&](const char* name) {
    return decoder.read(folder / name, {16, 16, 8.0}, [](int64_t, const uint8_t*) { return true; })
        .problem;
  };
  EXPECT_NE(problem("truncated.mp4"), "");
  EXPECT_NE(problem("zeros.mp4"), "");
  EXPECT_NE(problem("text.mp4"), "");
  EXPECT_NE(problem("damaged.mp4"), "");
  EXPECT_EQ(problem("good.mp4"), "");  // the same process goes on
}

TEST(CompressedVideo, ACutOffFileIsNoticedInEveryFormat) {
  const TemporaryFolder folder;
  for (const char* name : {"a.mp4", "a.mkv", "a.avi", "a.webm"}) {
    write_video(folder / name, shape_clip(60, 128), 8);
    const std::string whole = file_bytes(folder / name);
    write_bytes(folder / name, whole.substr(0, whole.size() / 2));
    const Decoded cut = decode(folder / name, {16, 16, 8.0});
    EXPECT_NE(cut.outcome.problem, "") << name;
    EXPECT_LT(cut.outcome.frames, 60) << name;
  }
}

}  // namespace
}  // namespace vmla::data
