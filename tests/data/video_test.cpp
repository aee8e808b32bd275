#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "data/decoder_process.h"
#include "data/moving_shapes.h"
#include "data/video_writer.h"
#include "model/io/error.h"
#include "tests/data/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

struct Decoded {
  ReadOutcome outcome;
  at::Tensor frames;  // [F, 3, H, W] in [-1, 1]
};

Decoded decode(const fs::path& video,
               const ReadOptions& options,
               const fs::path& program = find_decoder_program()) {
  DecoderProcess decoder(program);
  std::vector<at::Tensor> frames;
  Decoded out;
  out.outcome = decoder.read(video, options, [&](int64_t, const uint8_t* rgb) {
    frames.push_back(
        at::from_blob(const_cast<uint8_t*>(rgb), {options.height, options.width, 3}, at::kByte)
            .to(at::kFloat));
    return true;
  });
  if (!frames.empty()) out.frames = at::stack(frames).permute({0, 3, 1, 2}).div(127.5).sub(1.0);
  return out;
}

at::Tensor shape_clip(int64_t frames, int64_t side) {
  return render_clips({draw_clip(5, 3, false, frames)}, frames, side)[0];
}

TEST(Video, EveryFormatSurvivesTheWayThroughAFile) {
  const TemporaryFolder folder;
  const at::Tensor clip = shape_clip(9, 128);
  for (const char* name : {"a.mp4", "a.mkv", "a.avi", "a.webm", "a.y4m"}) {
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

TEST(Video, SmallPicturesAreEnlargedAndComeBack) {
  const TemporaryFolder folder;
  const at::Tensor clip = shape_clip(5, 16);
  for (const char* name : {"a.y4m", "a.mp4"}) {
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
  for (const char* name : {"a.y4m", "a.mp4"}) {
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

/// Puts `degrees` clockwise into the track header's matrix of an .mp4 file (ISO 14496-12, 8.3.2),
/// as phones do.
void set_rotation(const fs::path& path, int degrees) {
  std::string bytes = file_bytes(path);
  const size_t matrix =
      bytes.find("tkhd") + 4 + 4 + 20 + 16;  // version 0: times, ids and layer come first
  const int cosine = degrees == 0 ? 1 : (degrees == 180 ? -1 : 0),
            sine = degrees == 90 ? 1 : (degrees == 270 ? -1 : 0);
  const int values[5] = {cosine, sine, 0, -sine, cosine};
  for (size_t i = 0; i < 5; ++i) {
    const auto fixed = static_cast<uint32_t>(values[i] * 65536);
    for (size_t b = 0; b < 4; ++b)
      bytes[matrix + 4 * i + b] = static_cast<char>(fixed >> (24 - 8 * b));
  }
  write_bytes(path, bytes);
}

TEST(Video, RotationFlagsAreHonoured) {
  const TemporaryFolder folder;
  const at::Tensor clip =
      render_clips({draw_clip(5, 3, false, 3)}, 3, 128)[0].narrow(2, 0, 64);  // 64 x 128
  for (const int degrees : {0, 90, 180, 270}) {
    const fs::path path = folder / (cat(degrees) + ".mp4");
    write_video(path, clip, 8);
    set_rotation(path, degrees);
    const at::Tensor upright = clip.rot90(-degrees / 90, {2, 3});  // rot90 turns counter-clockwise
    const ReadOptions options = {upright.size(2), upright.size(3), 8.0};
    const Decoded back = decode(path, options);
    ASSERT_EQ(back.outcome.problem, "");
    EXPECT_LT((back.frames - upright).abs().mean().item<double>() * 127.5, 6.0) << degrees;
  }
}

TEST(Video, UnreadableFilesAreNamedWithAReason) {
  const TemporaryFolder folder;
  write_video(folder / "good.mp4", shape_clip(30, 128), 8);
  write_video(folder / "good.y4m", shape_clip(9, 32), 8);
  const std::string good = file_bytes(folder / "good.mp4"), raw = file_bytes(folder / "good.y4m");
  write_bytes(folder / "empty.mp4", "");
  write_bytes(folder / "truncated.mp4", good.substr(0, good.size() / 2));
  write_bytes(folder / "zeros.mp4", std::string(good.size(), '\0'));
  write_bytes(folder / "text.mp4", "this is not a video\n");
  std::string damaged = good;
  damaged.replace(300, 600, std::string(600, '\0'));
  write_bytes(folder / "damaged.mp4", damaged);
  write_bytes(folder / "truncated.y4m", raw.substr(0, raw.size() - 10));
  write_bytes(folder / "header.y4m", "YUV4MPEG2 W0 H4 F8:1\n");
  fs::create_directory(folder / "folder.mp4");

  DecoderProcess decoder(find_decoder_program());
  const auto problem = [&](const char* name) {
    return decoder.read(folder / name, {16, 16, 8.0}, [](int64_t, const uint8_t*) { return true; })
        .problem;
  };
  EXPECT_EQ(problem("missing.mp4"), "no such file");
  EXPECT_EQ(problem("empty.mp4"), "the file is empty");
  EXPECT_NE(problem("truncated.mp4"), "");
  EXPECT_NE(problem("zeros.mp4"), "");
  EXPECT_NE(problem("text.mp4"), "");
  EXPECT_NE(problem("damaged.mp4"), "");
  EXPECT_NE(problem("folder.mp4"), "");
  EXPECT_EQ(problem("truncated.y4m"), "truncated in frame 8");
  EXPECT_NE(problem("header.y4m").find("picture size"), std::string::npos);
  EXPECT_EQ(problem("good.mp4"), "");  // the same process goes on
}

TEST(Video, ACutOffFileIsNoticedInEveryFormat) {
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
  write_bytes(folder / "a.mp4", "before");
  {
    VideoWriter writer(folder / "a.mp4", 8);
    writer.append(shape_clip(2, 32));
  }  // never closed
  EXPECT_EQ(file_bytes(folder / "a.mp4"), "before");
  const std::string text =
      error_of<RunError>([&] { write_video(folder / "a.gif", shape_clip(2, 32), 8); });
  EXPECT_NE(text.find("a.gif"), std::string::npos) << text;
}

}  // namespace
}  // namespace vmla::data
