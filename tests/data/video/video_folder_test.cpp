#include "data/video/video_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
  EXPECT_NE(complaint("captions.csv", "clip,words\n").find("no column \"file\""),
            std::string::npos);
  EXPECT_NE(complaint("captions.csv", "file,caption\na.mp4,x,y\n").find("row 2"),
            std::string::npos);
  EXPECT_NE(complaint("captions.csv", "file,caption\n\"a.mp4,x\n").find("line 2"),
            std::string::npos);
  EXPECT_NE(complaint("captions.csv", "file,caption\na.mp4,x\na.mp4,y\n")
                .find("captions.csv: row 2; one line"),
            std::string::npos);
  EXPECT_NE(complaint("captions.jsonl", "{\"file\": \"a.mp4\"}\n").find("line 1"),
            std::string::npos);
}

std::map<std::string, std::string> captions_in(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const VideoEntry& video : list_videos(folder)) all[video.file] = video.caption.value_or("-");
  return all;
}
using Map = std::map<std::string, std::string>;

TEST(VideoFolder, AnAbsoluteNameInsideTheFolderIsTheVideoThere) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "real");
  fs::create_directory_symlink(folder / "real", folder / "linked");
  write_bytes(folder / "real/a.mp4", "x");
  write_bytes(folder / "real/b.mp4", "x");
  write_bytes(folder / "real/c.mp4", "x");
  write_bytes(folder / "real/captions.csv",
              "file,caption\n" + (folder / "real/a.mp4").string() + ",one\n" +
                  (folder / "linked/b.mp4").string() + ",two\n../real/./c.mp4,three\n");
  EXPECT_EQ(captions_in(folder / "real"),
            (Map{{"a.mp4", "one"}, {"b.mp4", "two"}, {"c.mp4", "three"}}));
}

TEST(VideoFolder, NamesThatLeadOutOfTheFolderAreRefused) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "v/sub");
  write_bytes(folder / "secret.mp4", "x");
  write_bytes(folder / "v/a.mp4", "x");
  for (const std::string name :
       {"../secret.mp4", "sub/../../secret.mp4", "/etc/hostname", "..", ".", "", "sub/"}) {
    write_bytes(folder / "v/captions.csv", "file,caption\na.mp4,x\n" + name + ",y\n");
    const std::string text = error_of<UserError>([&] { list_videos(folder / "v"); });
    EXPECT_NE(text.find("captions.csv: row 3"), std::string::npos) << text;
    fs::remove(folder / "v/captions.csv");
    write_bytes(folder / "v/captions.jsonl", "{\"file\": \"" + name + "\", \"caption\": \"\"}\n");
    EXPECT_NE(error_of<UserError>([&] { list_videos(folder / "v"); }).find("line 1"),
              std::string::npos);
    fs::remove(folder / "v/captions.jsonl");
  }
}

TEST(VideoFolder, EmptyRowsAndBlankCaptionsAreNoCaptions) {
  const TemporaryFolder folder;
  for (const char* name : {"a.mp4", "b.mp4", "c.mp4"}) write_bytes(folder / name, "x");
  write_bytes(folder / "c.txt", " \n");
  write_bytes(folder / "captions.csv", "file,caption,note\n,,\na.mp4,x,\n , ,\n\nb.mp4, ,n\n,,\n");
  EXPECT_EQ(captions_in(folder.path()), (Map{{"a.mp4", "x"}, {"b.mp4", "-"}, {"c.mp4", "-"}}));
}

TEST(VideoFolder, CaptionsThatAreNotUtf8AreRefusedWithThePlace) {
  const TemporaryFolder folder;
  write_bytes(folder / "a.mp4", "x");
  const auto complaint = [&](const char* name, const std::string& bytes) {
    write_bytes(folder / name, bytes);
    const std::string text = error_of<UserError>([&] { list_videos(folder.path()); });
    EXPECT_NE(text.find(name), std::string::npos) << text;
    fs::remove(folder / name);
    return text;
  };
  const std::string latin = "a caf\xE9";
  EXPECT_NE(
      complaint("captions.csv", "file,caption\na.mp4," + latin + "\n").find("line 2, column 12"),
      std::string::npos);
  EXPECT_NE(complaint("captions.jsonl", "{\"file\": \"a.mp4\", \"caption\": \"" + latin + "\"}\n")
                .find("is no UTF-8"),
            std::string::npos);
  EXPECT_NE(complaint("a.txt", latin).find("is no UTF-8"), std::string::npos);
  const std::string wide(
      "\xFF\xFE"
      "f\0i\0",
      6);
  EXPECT_NE(complaint("captions.csv", wide).find("UTF-16"), std::string::npos);
  EXPECT_NE(complaint("a.txt", wide).find("UTF-16"), std::string::npos);
  EXPECT_NE(complaint("a.txt", std::string("a\0b\0", 4)).find("0x00"), std::string::npos);
  // A zero that no byte of the file shows.
  EXPECT_NE(complaint("captions.jsonl", "{\"file\": \"a.mp4\", \"caption\": \"a\\u0000b\"}\n")
                .find("0x00"),
            std::string::npos);
}

TEST(VideoFolder, AByteOrderMarkBelongsToNoCaption) {
  const TemporaryFolder folder;
  for (const char* name : {"a.mp4", "b.mp4"}) write_bytes(folder / name, "x");
  const std::string mark = "\xEF\xBB\xBF";
  write_bytes(folder / "b.txt", mark + "beside\r\n");
  write_bytes(folder / "captions.jsonl", mark + "{\"file\": \"a.mp4\", \"caption\": \"one\"}\n");
  EXPECT_EQ(captions_in(folder.path()), (Map{{"a.mp4", "one"}, {"b.mp4", "beside"}}));
}

TEST(VideoFolder, OtherNamesOfFilesAndColumnsAreKnown) {
  const TemporaryFolder folder;
  write_bytes(folder / "a.mp4", "x");
  for (const auto& [name, text] :
       Map{{"metadata.csv", "file_name,text\na.mp4,one\n"},
           {"captions.csv", "Prompt,Video\none,a.mp4\n"},
           {"captions.jsonl", "{\"video\": \"a.mp4\", \"prompt\": \"one\", \"x\": [[{}]]}\n"},
           {"metadata.jsonl", "{\"file_name\": \"a.mp4\", \"text\": \"one\"}\n"}}) {
    write_bytes(folder / name, text);
    EXPECT_EQ(captions_in(folder.path()), (Map{{"a.mp4", "one"}})) << name;
    fs::remove(folder / name);
  }
  write_bytes(folder / "captions.jsonl", std::string(1 << 20, '[') + "\n");
  EXPECT_NE(error_of<UserError>([&] { list_videos(folder.path()); }).find("line 1"),
            std::string::npos);
}

TEST(VideoFolder, NothingIsPassedOverInSilence) {
  const TemporaryFolder folder;
  const fs::path videos = folder / "v";
  fs::create_directories(videos / "sub");
  fs::create_directories(folder / "elsewhere");
  for (const char* name : {"v/a.gif", "v/b.TS", "v/sub/c.mpg", "elsewhere/d.mp4"}) {
    write_bytes(folder / name, "x");
  }
  fs::create_directory_symlink(folder / "elsewhere", videos / "linked");
  fs::create_directory_symlink(videos, videos / "sub/again");
  fs::create_symlink("nowhere", videos / "dangling");
  fs::create_symlink("loop.mp4", videos / "loop.mp4");
  write_bytes(videos / "photo.jpg", "x");
  write_bytes(videos / ".unfinished.e.mp4", "x");
  write_bytes(videos / "captions.csv", "file,caption\na.gif,x\n");
  write_bytes(videos / "captions.jsonl", "");
  write_bytes(videos / "sub/metadata.csv", "");
  const VideoFolder found = read_video_folder(videos);
  std::string names;
  for (const VideoEntry& video : found.videos) names += video.file + " ";
  EXPECT_EQ(names, "a.gif b.TS linked/d.mp4 loop.mp4 sub/c.mpg ");
  Map reasons;
  for (const PassedOver& other : found.passed_over) reasons[other.file] = other.reason;
  EXPECT_EQ(reasons.size(), 4u);
  EXPECT_EQ(reasons["captions.jsonl"], "is not read, as captions.csv is");
  EXPECT_EQ(reasons["dangling"], "leads to nothing");
  EXPECT_EQ(reasons["sub/again"], "leads to ., which is read once");
  EXPECT_NE(reasons["sub/metadata.csv"], "");
  Map others;
  for (const PassedOver& other : found.other_files) others[other.file] = other.reason;
  EXPECT_EQ(others, (Map{{".unfinished.e.mp4", ".mp4"}, {"photo.jpg", ".jpg"}}));
}

TEST(VideoFolder, ASecondCaptionIsNamedWithBothPlaces) {
  const TemporaryFolder folder;
  for (const char* name : {"a.mp4", "b.mp4", "c.mp4", "d.mp4"}) write_bytes(folder / name, "x");
  write_bytes(folder / "captions.csv", "file,caption\na.mp4,one\nb.mp4,two\nd.mp4,\n");
  write_bytes(folder / "captions.jsonl",
              "{\"file\": \"a.mp4\", \"caption\": \"one\"}\n"
              "{\"file\": \"b.mp4\", \"caption\": \"other\"}\n"
              "{\"file\": \"c.mp4\", \"caption\": \"three\"}\n");
  write_bytes(folder / "metadata.jsonl", "no JSON\n");
  write_bytes(folder / "a.txt", "not one\n");
  write_bytes(folder / "b.txt", "two\n");
  write_bytes(folder / "d.txt", "four\n");
  const VideoFolder found = read_video_folder(folder.path());
  Map captions, reasons;
  for (const VideoEntry& video : found.videos)
    captions[video.file] = video.caption.value_or("(none)");
  EXPECT_EQ(captions,
            (Map{{"a.mp4", "one"}, {"b.mp4", "two"}, {"c.mp4", "(none)"}, {"d.mp4", "four"}}));
  for (const PassedOver& other : found.passed_over) reasons[other.file] = other.reason;
  EXPECT_EQ(reasons,
            (Map{{"a.txt", "is not read, as captions.csv has another caption of a.mp4"},
                 {"captions.jsonl",
                  "is not read, as captions.csv is; 2 videos have another caption in it, the first "
                  "is b.mp4"},
                 {"metadata.jsonl", "is not read, as captions.csv is"}}));
}

TEST(VideoFolder, AFolderThatCannotBeReadIsNamed) {
  const TemporaryFolder folder;
  write_bytes(folder / "a.mp4", "x");
  fs::create_directory(folder / "lost+found");
  fs::permissions(folder / "lost+found", fs::perms::none);
  // The superuser may read every folder, so that somebody else has to try.
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
    const VideoFolder found = read_video_folder(folder.path());
    const bool named = found.videos.size() == 1 && found.passed_over.size() == 1 &&
                       found.passed_over[0].file == "lost+found" &&
                       found.passed_over[0].reason == "cannot be read: Permission denied";
    _exit(named ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  fs::permissions(folder / "lost+found", fs::perms::owner_all);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(VideoFolder, APipeInPlaceOfCaptionsIsNotWaitedFor) {
  const TemporaryFolder folder;
  write_bytes(folder / "a.mp4", "x");
  for (const char* name : {"captions.csv", "a.txt"}) {
    ASSERT_EQ(mkfifo((folder / name).c_str(), 0600), 0);
    const std::string text = error_of<UserError>([&] { list_videos(folder.path()); });
    EXPECT_NE(text.find("it is a pipe"), std::string::npos) << text;
    fs::remove(folder / name);
  }
}

}  // namespace
}  // namespace vmla::data
