#include "data/video/video_folder.h"

#include <gtest/gtest.h>

#include <map>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(VideoFolder, CaptionsComeFromThreeKindsOfFiles) {
  const TemporaryFolder folder;
  for (const char* name : {"a.mp4", "b.MP4", "c.webm"}) write_bytes(folder / name, "x");
  write_bytes(folder / "notes.log", "no video");
  write_bytes(folder / "c.txt", "from a sidecar\n");
  const auto captions = [&] {
    std::map<std::string, std::string> all;
    for (const VideoEntry& video : list_videos(folder.path()))
      all[video.file] = video.caption.value_or("-");
    return all;
  };
  using Map = std::map<std::string, std::string>;
  EXPECT_EQ(captions(), (Map{{"a.mp4", "-"}, {"b.MP4", "-"}, {"c.webm", "from a sidecar"}}));
  write_bytes(folder / "captions.jsonl", "{\"file\": \"a.mp4\", \"caption\": \"eins\"}\n\n");
  EXPECT_EQ(captions(), (Map{{"a.mp4", "eins"}, {"b.MP4", "-"}, {"c.webm", "from a sidecar"}}));
  write_bytes(folder / "captions.csv",
              "\xEF\xBB\xBF"
              "caption,file\r\n\"one, \"\"two\"\"\nlines\",b.MP4\r\nlisted,./c.webm\r\n");
  EXPECT_EQ(captions(),
            (Map{{"a.mp4", "-"}, {"b.MP4", "one, \"two\"\nlines"}, {"c.webm", "listed"}}));
}

TEST(VideoFolder, BadCaptionFilesAreNamedWithTheLine) {
  const TemporaryFolder folder;
  write_bytes(folder / "a.mp4", "x");
  const auto complaint = [&](const char* name, const char* text) {
    write_bytes(folder / name, text);
    const std::string out = error_of<UserError>([&] { list_videos(folder.path()); });
    fs::remove(folder / name);
    EXPECT_NE(out.find(name), std::string::npos) << out;
    return out;
  };
  EXPECT_NE(complaint("captions.csv", "video,text\n").find("no column \"file\""),
            std::string::npos);
  EXPECT_NE(complaint("captions.csv", "file,caption\na.mp4,x,y\n").find("row 2"),
            std::string::npos);
  EXPECT_NE(complaint("captions.csv", "file,caption\n\"a.mp4,x\n").find("line 2"),
            std::string::npos);
  EXPECT_NE(complaint("captions.csv", "file,caption\na.mp4,x\na.mp4,y\n").find("already"),
            std::string::npos);
  EXPECT_NE(complaint("captions.jsonl", "{\"file\": \"a.mp4\"}\n").find("line 1"),
            std::string::npos);
}

}  // namespace
}  // namespace vmla::data
