#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/data/video/decoded_video.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(Video, SmallPicturesAreEnlargedAndComeBack) {
  const TemporaryFolder folder;
  const at::Tensor clip = shape_clip(5, 16);
  for (const std::string& name : video_names("a")) {
    write_video(folder / name, clip, 8);
    const Decoded back = decode(folder / name, {16, 16, 8.0});
    ASSERT_EQ(back.frames.sizes(), clip.sizes());
    // y4m: three roundings to a byte (RGB, YUV with a range of 219, RGB). mp4: the codec, away from
    // edges.
    EXPECT_LT((back.frames - clip).abs().max().item<double>() * 127.5, name[2] == 'y' ? 3.0 : 40.0)
        << name;
  }
}

TEST(Video, FramesAreResampledInTime) {
  const TemporaryFolder folder;
  // Frame f has the level f·10 everywhere.
  at::Tensor clip = at::empty({25, 3, 32, 32}, at::kByte);
  for (int64_t f = 0; f < 25; ++f) clip[f].fill_(f * 10);
  for (const std::string& name : video_names("a")) {
    VideoWriter writer(folder / name, 25);
    writer.append(clip.narrow(0, 0, 10));
    writer.append(clip.narrow(0, 10, 15));
    writer.close();
    const Decoded slow = decode(folder / name, {16, 16, 8.0});
    ASSERT_EQ(slow.frames.size(0), 8) << name;  // one second
    for (int64_t k = 0; k < 8; ++k) {
      const double nearest =
          std::ceil(static_cast<double>(k) / 8 * 25 - 0.5);  // the earlier of two
      const double level = (slow.frames[k].mean().item<double>() + 1) * 127.5;
      EXPECT_NEAR(level, nearest * 10, 4.9) << name << " frame " << k;
    }
    EXPECT_EQ(decode(folder / name, {16, 16, 25.0}).frames.size(0), 25);
    EXPECT_EQ(decode(folder / name, {16, 16, 50.0}).frames.size(0), 50);
    EXPECT_EQ(decode(folder / name, {16, 16, 25.0, 7}).frames.size(0), 7);
  }
}

TEST(Video, TheMiddleIsCutOutWithoutStretching) {
  const TemporaryFolder folder;
  // 64 x 128: the middle half white, the quarters at both sides black. A square crop is white
  // alone.
  at::Tensor clip = at::zeros({2, 3, 64, 128}, at::kByte);
  clip.narrow(3, 32, 64).fill_(255);
  VideoWriter writer(folder / "wide.y4m", 8, nullptr, 2);
  writer.append(clip);
  writer.close();
  EXPECT_GT(decode(folder / "wide.y4m", {16, 16, 8.0}).frames.min().item<double>(), 0.99);
  const Decoded whole = decode(folder / "wide.y4m", {16, 32, 8.0});
  EXPECT_LT(whole.frames.select(3, 7).max().item<double>(), -0.99);
  EXPECT_GT(whole.frames.select(3, 8).min().item<double>(), 0.99);
  // Enlarging keeps the order of levels: 8x.
  EXPECT_GT(decode(folder / "wide.y4m", {512, 512, 8.0}).frames.min().item<double>(), 0.99);
}

TEST(Video, UnreadableFilesAreNamedWithAReason) {
  const TemporaryFolder folder;
  write_video(folder / "good.y4m", shape_clip(9, 32), 8);
  const std::string good = file_bytes(folder / "good.y4m");
  write_bytes(folder / "empty.y4m", "");
  write_bytes(folder / "text.y4m", "this is not a video\n");
  write_bytes(folder / "truncated.y4m", good.substr(0, good.size() - 10));
  write_bytes(folder / "header.y4m", "YUV4MPEG2 W0 H4 F8:1\n");
  fs::create_directory(folder / "folder.y4m");

  DecoderProcess decoder(find_decoder_program());
  const auto problem = [&](const char* name) {
    return decoder.read(folder / name, {16, 16, 8.0}, [](int64_t, const uint8_t*) { return true; })
        .problem;
  };
  EXPECT_EQ(problem("missing.y4m"), "no such file");
  EXPECT_EQ(problem("empty.y4m"), "the file is empty");
  EXPECT_EQ(problem("folder.y4m"), "not a regular file");
  EXPECT_NE(problem("text.y4m"), "");
  EXPECT_EQ(problem("truncated.y4m"), "truncated in frame 8");
  EXPECT_NE(problem("header.y4m").find("picture size"), std::string::npos);
  EXPECT_EQ(problem("good.y4m"), "");  // the same process goes on
}

/// A program that stands in for the decoder: `first` on its first start, the real decoder
/// afterwards.
fs::path faulty_decoder(const TemporaryFolder& folder, const std::string& first) {
  const fs::path script = folder / "decoder.sh";
  const std::string flag = (folder / "started").string();
  write_bytes(script,
              "#!/bin/sh\nif [ -e " + flag + " ]; then exec " + find_decoder_program().string() +
                  "; fi\ntouch " + flag + "\n" + first + "\n");
  fs::permissions(script, fs::perms::owner_all);
  return script;
}

TEST(Video, ADecoderThatHangsCrashesOrBabblesCostsOneVideo) {
  const struct {
    const char* name;
    const char* script;
    const char* expected;
  } kCases[] = {{"hang", "exec sleep 1000", "no answer"},
                {"crash", "kill -SEGV $$", "signal 11"},
                {"quit", "exit 3", "the decoder"},
                {"garbage", "exec cat /dev/urandom", "garbage"}};
  for (const auto& fault : kCases) {
    const TemporaryFolder folder;
    write_video(folder / "a.y4m", shape_clip(3, 32), 8);
    DecoderProcess decoder(faulty_decoder(folder, fault.script));
    ReadOptions options = {16, 16, 8.0};
    options.time_limit_seconds = fault.name == std::string("hang") ? 0.3 : 20;
    const auto accept = [](int64_t, const uint8_t*) { return true; };
    const ReadOutcome lost = decoder.read(folder / "a.y4m", options, accept);
    EXPECT_NE(lost.problem.find(fault.expected), std::string::npos)
        << fault.name << ": " << lost.problem;
    options.time_limit_seconds = 20;
    const ReadOutcome next = decoder.read(folder / "a.y4m", options, accept);
    EXPECT_EQ(next.problem, "") << fault.name;
    EXPECT_EQ(next.frames, 3) << fault.name;
  }
}

TEST(Video, AWriterThatCannotWriteSaysSoAndLeavesWhatWasThere) {
  const TemporaryFolder folder;
  for (const std::string& name : video_names("a")) {
    write_bytes(folder / name, "before");
    {
      VideoWriter writer(folder / name, 8);
      writer.append(shape_clip(2, 32));
    }  // never closed
    EXPECT_EQ(file_bytes(folder / name), "before");
  }
  const std::string text =
      error_of<RunError>([&] { write_video(folder / "a.gif", shape_clip(2, 32), 8); });
  EXPECT_NE(text.find("a.gif"), std::string::npos) << text;
}

}  // namespace
}  // namespace vmla::data
