#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "data/encode/clip_encoder.h"
#include "data/inspect/inspect_dataset.h"
#include "data/make_dataset.h"
#include "data/store/latent_dataset.h"
#include "data/synth/moving_shapes.h"
#include "data/synth/synth_videos.h"
#include "data/video/csv.h"
#include "data/video/video_folder.h"
#include "data/video/video_writer.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// The name of the i-th rendered video in this build's format.
std::string shape_name(int64_t i) {
  return formatted("shape_0000{}{}", i, default_video_extension());
}

SynthOptions synth_options(const fs::path& out, int64_t count) {
  SynthOptions options;
  options.out = out;
  options.count = count;
  return options;
}

EncodeOptions encode_options(const fs::path& videos, const fs::path& out) {
  EncodeOptions options;
  options.videos = videos;
  options.out = out;
  return options;
}

TEST(Encode, ShapesComeThroughVideoFilesAsTheyWereDrawn) {
  const TemporaryFolder folder;
  synth_videos(synth_options(folder / "v", 6));
  const EncodeReport report = encode_videos(encode_options(folder / "v", folder / "a.h5"));
  EXPECT_EQ(report.clips, 6);
  EXPECT_TRUE(report.skipped.empty());
  const LatentDataset dataset(folder / "a.h5");
  ASSERT_EQ(dataset.info().clip_shape, (std::vector<int64_t>{9, 12, 8, 8}));
  const auto codec = model::make_video_codec(dataset.info().codec);
  for (int64_t i = 0; i < 6; ++i) {
    const ClipSpec spec = draw_clip(0, static_cast<uint64_t>(i), false, 9);
    EXPECT_EQ(dataset.caption(i), caption_of(spec.what));
    const at::Tensor pixels = codec->decode(dataset.latents(i));
    // What H.264 at 128 pixels and bf16 leave after averaging 8x8 blocks: a few levels of 255 on
    // average.
    EXPECT_LT((pixels - render_clips({spec}, 9, 16)[0]).abs().mean().item<double>() * 127.5, 5.0);
  }
  EXPECT_FALSE(fs::exists(folder / "a.h5.parts"));
  EXPECT_FALSE(fs::exists(folder / "a.h5.lock"));
  EXPECT_FALSE(fs::exists(folder / "a.skipped.csv"));
  EXPECT_THROW(encode_videos(encode_options(folder / "v", folder / "a.h5")), UserError);  // exists
  write_contact_sheet(folder / "a.h5", folder / "a.png");
  EXPECT_EQ(file_bytes(folder / "a.png").substr(1, 3), "PNG");
  EXPECT_NE(inspect_dataset(folder / "a.h5").text.find("6 clips"), std::string::npos);
}

TEST(Encode, WhatCannotBeReadIsListedAndTheRestEncoded) {
  const TemporaryFolder folder;
  const std::string extension = default_video_extension();
  synth_videos(synth_options(folder / "v", 3));
  const std::string good = file_bytes(folder / "v" / shape_name(0));
  write_bytes(folder / ("v/empty" + extension), "");
  write_bytes(folder / ("v/truncated" + extension), good.substr(0, good.size() / 2));
  write_bytes(folder / "v/noise.webm", std::string(5000, 'x'));
  write_video(
      folder / ("v/short" + extension), render_clips({draw_clip(0, 0, false, 4)}, 4, 128)[0], 8);
  std::string captions = file_bytes(folder / "v/captions.csv");
  captions +=
      formatted("missing{},gone\nempty{},x\ntruncated{},x\nnoise.webm,\"a, quoted caption\"\n",
                extension,
                extension,
                extension);
  write_bytes(folder / "v/captions.csv", captions);

  const EncodeReport report = encode_videos(encode_options(folder / "v", folder / "a.h5"));
  EXPECT_EQ(report.clips, 3);
  EXPECT_EQ(report.videos, 8);
  std::map<std::string, std::string> reasons;
  for (const SkippedVideo& video : report.skipped) reasons[video.file] = video.reason;
  ASSERT_EQ(reasons.size(), 5u);
  EXPECT_EQ(reasons["missing" + extension], "no such file");
  EXPECT_EQ(reasons["empty" + extension], "the file is empty");
  EXPECT_NE(reasons["truncated" + extension], "");
  EXPECT_NE(reasons["noise.webm"], "");
  EXPECT_EQ(reasons["short" + extension], "shorter than the clip: 4 of 9 frames");
  EXPECT_EQ(report.no_caption, std::vector<std::string>{"short" + extension});
  const auto rows = parse_csv(file_bytes(folder / "a.skipped.csv"), "list");
  EXPECT_EQ(rows.size(), 7u);  // header, five skipped, one without a caption
  EXPECT_EQ(LatentDataset(folder / "a.h5").size(), 3);
}

TEST(Encode, NothingToEncodeIsTheUsersError) {
  const TemporaryFolder folder;
  EXPECT_THROW(encode_videos(encode_options(folder / "none", folder / "a.h5")), UserError);
  fs::create_directory(folder / "v");
  EXPECT_THROW(encode_videos(encode_options(folder / "v", folder / "a.h5")), UserError);
  write_bytes(folder / "v/empty.mp4", "");
  const std::string text =
      error_of<UserError>([&] { encode_videos(encode_options(folder / "v", folder / "a.h5")); });
  EXPECT_NE(text.find("empty.mp4: the file is empty"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(folder / "a.h5"));
  EXPECT_FALSE(fs::exists(folder / "a.h5.parts"));
  EncodeOptions odd = encode_options(folder / "v", folder / "a.h5");
  odd.height = 15;
  EXPECT_NE(error_of<UserError>([&] { encode_videos(odd); }).find("multiple of 2"),
            std::string::npos);
}

TEST(Encode, LongVideosGiveSeveralClips) {
  const TemporaryFolder folder;
  SynthOptions synth = synth_options(folder / "v", 1);
  synth.frames = 30;
  synth_videos(synth);
  EncodeOptions options = encode_options(folder / "v", folder / "a.h5");
  EXPECT_EQ(encode_videos(options).clips, 3);  // 0, 9, 18
  options.out = folder / "b.h5";
  options.stride = 5;
  EXPECT_EQ(encode_videos(options).clips, 5);  // 0, 5, 10, 15, 20
  const LatentDataset overlapping(folder / "b.h5");
  // Frame 5 of the first clip is frame 0 of the second.
  EXPECT_TRUE(at::equal(overlapping.latents(0)[5], overlapping.latents(1)[0]));
  EXPECT_EQ(overlapping.record(4).first_frame, 20);
  options.out = folder / "c.h5";
  options.stride = 12;
  options.max_clips = 2;
  EXPECT_EQ(encode_videos(options).clips, 2);
  EXPECT_TRUE(at::equal(LatentDataset(folder / "c.h5").latents(1),
                        LatentDataset(folder / "b.h5").latents(2)) == false);
}

TEST(Encode, HeldOutClipsAndTheOthersTogetherAreAll) {
  const TemporaryFolder folder;
  SynthOptions synth = synth_options(folder / "v", 2);
  synth.frames = 45;  // five clips a video
  synth_videos(synth);
  EncodeOptions options = encode_options(folder / "v", folder / "train.h5");
  options.hold_out_every = 2;
  EXPECT_EQ(encode_videos(options).clips, 6);  // 0, 18, 36 of each
  options.out = folder / "held_out.h5";
  options.held_out = true;
  EXPECT_EQ(encode_videos(options).clips, 4);  // 9, 27 of each
  const LatentDataset train(folder / "train.h5"), held_out(folder / "held_out.h5");
  EXPECT_EQ(train.record(1).first_frame, 18);
  EXPECT_EQ(held_out.record(1).first_frame, 27);
  options.hold_out_every = 0;
  options.out = folder / "none.h5";
  EXPECT_NE(error_of<UserError>([&] { encode_videos(options); }).find("hold-out-every"),
            std::string::npos);
}

TEST(Encode, KilledAndResumedIsUninterruptedByteForByte) {
  const TemporaryFolder folder;
  synth_videos(synth_options(folder / "v", 40));
  write_bytes(folder / "v" / shape_name(3), "broken");
  EncodeOptions options = encode_options(folder / "v", folder / "whole.h5");
  encode_videos(options);
  options.out = folder / "killed.h5";
  options.part_seconds = 0;  // a part a video
  const fs::path parts = folder / "killed.h5.parts";
  const pid_t child = fork();
  if (child == 0) {
    encode_videos(options);
    _exit(0);
  }
  const auto part_count = [&] {
    return fs::exists(parts)
               ? std::distance(fs::directory_iterator(parts), fs::directory_iterator())
               : 0;
  };
  while (part_count() < 6 && waitpid(child, nullptr, WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  ASSERT_FALSE(fs::exists(folder / "killed.h5"));
  ASSERT_TRUE(fs::exists(parts));
  {
    EncodeOptions other = options;
    other.frames = 5;
    const std::string text = error_of<UserError>([&] { encode_videos(other); });
    EXPECT_NE(text.find("other inputs or settings"), std::string::npos) << text;
  }
  const EncodeReport report = encode_videos(options);
  EXPECT_GE(report.resumed_videos, 5);
  EXPECT_LT(report.resumed_videos, 40);
  ASSERT_EQ(report.skipped.size(), 1u);
  EXPECT_EQ(report.skipped[0].file, shape_name(3));
  EXPECT_TRUE(file_bytes(folder / "killed.h5") == file_bytes(folder / "whole.h5"));
  EXPECT_TRUE(file_bytes(folder / "killed.skipped.csv") ==
              file_bytes(folder / "whole.skipped.csv"));
  EXPECT_FALSE(fs::exists(parts));
}

TEST(Encode, AFullDiskEndsWithOneLineAndLosesNothing) {
  const TemporaryFolder folder;
  synth_videos(synth_options(folder / "v", 20));
  EncodeOptions options = encode_options(folder / "v", folder / "a.h5");
  options.part_seconds = 0;  // a part a video: less than 100 kB with what is reserved for structure
  options.overwrite = true;
  write_bytes(folder / "a.h5", "what was there before");
  // 150 kB is room for every part and too little for the 280 kB of the whole.
  for (const rlim_t limit : {rlim_t{1000}, rlim_t{150'000}}) {
    const fs::path said = folder / "said";
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit size = {limit, RLIM_INFINITY};
      setrlimit(RLIMIT_FSIZE, &size);
      try {
        encode_videos(options);
        std::exit(0);
      } catch (const RunError& error) {
        write_bytes(said, error.what());
        std::exit(1);  // not _exit: what libraries do at the end of a program is part of the test
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 1);
    const std::string text = file_bytes(said);
    EXPECT_NE(text.find("File too large"), std::string::npos) << text;
    EXPECT_NE(text.find(limit == 1000 ? "part-" : "a.h5:"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_EQ(file_bytes(folder / "a.h5"), "what was there before");
  }
  const EncodeReport report = encode_videos(options);
  EXPECT_EQ(report.resumed_videos, 20);
  EXPECT_EQ(LatentDataset(folder / "a.h5").size(), 20);
}

TEST(Encode, ThreadsDoNotChangeTheResult) {
  const TemporaryFolder folder;
  synth_videos(synth_options(folder / "v", 7));
  for (const int64_t threads : {1, 2, 5}) {
    EncodeOptions options = encode_options(folder / "v", folder / formatted("{}.h5", threads));
    options.threads = threads;
    encode_videos(options);
  }
  EXPECT_TRUE(file_bytes(folder / "1.h5") == file_bytes(folder / "2.h5"));
  EXPECT_TRUE(file_bytes(folder / "1.h5") == file_bytes(folder / "5.h5"));
}

TEST(Synth, AnInterruptedRunGoesOnAndOtherClipsAreRefused) {
  const TemporaryFolder folder;
  synth_videos(synth_options(folder / "a", 3));
  synth_videos(synth_options(folder / "b", 3));
  const std::string captions = file_bytes(folder / "b/captions.csv");
  fs::remove(folder / "b/captions.csv");
  fs::remove(folder / "b" / shape_name(1));
  synth_videos(synth_options(folder / "b", 3));
  EXPECT_EQ(file_bytes(folder / "b/captions.csv"), captions);
  EXPECT_TRUE(file_bytes(folder / "a" / shape_name(1)) == file_bytes(folder / "b" / shape_name(1)));
  SynthOptions other = synth_options(folder / "b", 3);
  other.seed = 1;
  EXPECT_THROW(synth_videos(other), UserError);
  fs::create_directory(folder / "c");
  write_bytes(folder / "c/holiday.mp4", "mine");
  EXPECT_THROW(synth_videos(synth_options(folder / "c", 3)), UserError);
  other = synth_options(folder / "d", 0);
  EXPECT_THROW(synth_videos(other), UserError);
}

TEST(MakeDataset, IsMadeOnceEvenByTwoProcesses) {
  const TemporaryFolder folder;
  MakeConfig config;
  config.synth_count = 12;
  config.held_out = true;
  const fs::path path = folder / "cache/held_out.h5";
  const pid_t child = fork();
  if (child == 0) {
    make_dataset(config, path);
    _exit(0);
  }
  make_dataset(config, path);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  const LatentDataset dataset(path);
  EXPECT_EQ(dataset.size(), 12);
  for (int64_t i = 0; i < 12; ++i) EXPECT_TRUE(is_held_out(*parse_caption(dataset.caption(i))));
  const auto time = fs::last_write_time(path);
  make_dataset(config, path);
  EXPECT_EQ(fs::last_write_time(path), time);
  config.frames = 5;
  EXPECT_NE(error_of<UserError>([&] { make_dataset(config, path); }).find("make.frames"),
            std::string::npos);
  EXPECT_THROW(make_dataset(MakeConfig(), folder / "nothing.h5"), UserError);
}

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

TEST(Csv, RowsAreReadBack) {
  const std::vector<std::string> row = {"a", "b,c", "d \"e\"", "f\ng", ""};
  EXPECT_EQ(parse_csv(csv_row(row), "x"), (std::vector<std::vector<std::string>>{row}));
}

}  // namespace
}  // namespace vmla::data
