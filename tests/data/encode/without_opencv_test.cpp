#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "data/encode/encode_videos.h"
#include "data/synth/synth_videos.h"
#include "tests/data/video/decoded_video.h"
#include "tests/support/temporary_folder.h"

// Compiled into a build without OpenCV only.
namespace vmla::data {
namespace {

TEST(WithoutOpenCv, VideosAreWrittenUncompressed) {
  const TemporaryFolder folder;
  EXPECT_EQ(default_video_extension(), std::string(".y4m"));
  const std::string text =
      error_of<RunError>([&] { write_video(folder / "a.mp4", shape_clip(2, 32), 8); });
  EXPECT_NE(text.find("a.mp4"), std::string::npos) << text;
  EXPECT_NE(text.find("writes videos as .y4m only"), std::string::npos) << text;
  SynthOptions synth;
  synth.out = folder / "v";
  synth.count = 1;
  synth.format = "mp4";
  EXPECT_NE(error_of<UserError>([&] { synth_videos(synth); }).find("this one writes y4m"),
            std::string::npos);
}

TEST(WithoutOpenCv, CompressedVideosAreRefusedInOneLine) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "v");
  write_bytes(folder / "v/a.mp4", "an mp4 file");
  EXPECT_EQ(decode(folder / "v/a.mp4", {16, 16, 8.0}).outcome.problem,
            "this build has no OpenCV and reads videos as .y4m only");
  EncodeOptions options;
  options.videos = folder / "v";
  options.out = folder / "a.h5";
  const std::string text = error_of<UserError>([&] { encode_videos(options); });
  EXPECT_NE(text.find("a.mp4: this build has no OpenCV"), std::string::npos) << text;
}

}  // namespace
}  // namespace vmla::data
