#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "tests/data/video/decoded_video.h"
#include "tests/support/temporary_folder.h"

/// Videos that nobody of ours wrote.
namespace vmla::data {
namespace fs = std::filesystem;
namespace {

ReadOutcome read(const fs::path& video, double fps = 8) {
  DecoderProcess decoder(find_decoder_program());
  ReadOptions options{.height = 16, .width = 16, .fps = fps};
  options.time_limit_seconds = 20;
  return decoder.read(video, options, [](int64_t, const uint8_t*) { return true; });
}

std::string y4m(const std::string& header, int64_t frames) {
  std::string bytes = "YUV4MPEG2 W16 H16 " + header + "\n";
  for (int64_t i = 0; i < frames; ++i) bytes += "FRAME\n" + std::string(16 * 16 * 3 / 2, '\x80');
  return bytes;
}

TEST(StrangerVideos, APictureThatStandsStillForLongEndsTheVideo) {
  const TemporaryFolder folder;
  write_bytes(folder / "day.y4m", y4m("F1:86400", 3));
  const ReadOutcome day = read(folder / "day.y4m", 24);
  EXPECT_EQ(day.frames, 1);
  EXPECT_NE(day.problem.find("stands still from 0 s to 86400 s"), std::string::npos) << day.problem;
  // A slide show with a picture every ten seconds is none of that.
  write_bytes(folder / "slides.y4m", y4m("F1:10", 3));
  const ReadOutcome slides = read(folder / "slides.y4m", 1);
  EXPECT_EQ(slides.frames, 28);  // the last picture, at 20 s, lasts 0.8 of the interval
  EXPECT_EQ(slides.problem, "");
}

TEST(StrangerVideos, WhatAHeaderPromisesIsCheckedAgainstTheFile) {
  const TemporaryFolder folder;
  write_bytes(folder / "large.y4m", "YUV4MPEG2 W16384 H16384 F8:1\nFRAME\nabc");
  EXPECT_NE(read(folder / "large.y4m").problem.find("16384 x 16384"), std::string::npos);
  write_bytes(folder / "line.y4m", "YUV4MPEG2 " + std::string(1 << 20, 'X'));
  EXPECT_NE(read(folder / "line.y4m").problem, "");
  write_bytes(folder / "rate.y4m", y4m("F1000000000:1", 2));
  EXPECT_NE(read(folder / "rate.y4m").problem.find("frames a second"), std::string::npos);
}

TEST(StrangerVideos, EveryWayToPlaceChromaIsReadWhateverTheNameOfTheFile) {
  const TemporaryFolder folder;
  for (const char* chroma : {"420", "420jpeg", "420mpeg2", "420paldv"}) {
    write_bytes(folder / "a.mp4", y4m(std::string("F8:1 C") + chroma, 4));
    EXPECT_EQ(read(folder / "a.mp4").frames, 4) << chroma;
  }
  write_bytes(folder / "a.y4m", y4m("F8:1 C420p10", 4));
  EXPECT_NE(read(folder / "a.y4m").problem.find("420p10"), std::string::npos);
}

TEST(StrangerVideos, NoFileOpensAnother) {
  const TemporaryFolder folder;
  const std::string inner = "inner" + std::string(default_video_extension());
  write_video(folder / inner, shape_clip(9, 128), 8);
  const std::string lists[] = {
      "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n" + inner + "\n#EXT-X-ENDLIST\n",
      "ffconcat version 1.0\nfile " + inner + "\n",
      "\xEF\xBB\xBF \n#EXTM3U\n" + inner + "\n",
      "<?xml version=\"1.0\"?><MPD><BaseURL>" + inner + "</BaseURL></MPD>",
      "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 1 RTP/AVP 96\r\n"};
  for (const std::string& list : lists) {
    write_bytes(folder / "list.mp4", list);
    const ReadOutcome outcome = read(folder / "list.mp4");
    EXPECT_EQ(outcome.frames, 0) << list;
    EXPECT_NE(outcome.problem.find("list of other files"), std::string::npos) << outcome.problem;
  }
}

TEST(StrangerVideos, APipeOrALoopOfLinksIsNotWaitedFor) {
  const TemporaryFolder folder;
  ASSERT_EQ(mkfifo((folder / "pipe.y4m").c_str(), 0600), 0);
  fs::create_symlink("loop.y4m", folder / "loop.y4m");
  EXPECT_EQ(read(folder / "pipe.y4m").problem, "not a regular file");
  EXPECT_NE(read(folder / "loop.y4m").problem.find("symbolic links"), std::string::npos);
}

}  // namespace
}  // namespace vmla::data
