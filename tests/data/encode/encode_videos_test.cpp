#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "data/inspect/inspect_dataset.h"
#include "data/inspect/png_writer.h"
#include "data/store/latent_dataset.h"
#include "data/synth/moving_shapes.h"
#include "model/codec/video_codec.h"
#include "model/io/csv.h"
#include "model/io/error.h"
#include "tests/data/encode/shape_videos.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(EncodeVideos, ShapesComeThroughVideoFilesAsTheyWereDrawn) {
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
  write_png(folder / "a.png", contact_sheet(LatentDataset(folder / "a.h5"), "a.h5"));
  EXPECT_EQ(file_bytes(folder / "a.png").substr(1, 3), "PNG");
  EXPECT_NE(inspect_dataset(LatentDataset(folder / "a.h5"), "a.h5", true).text.find("6 clips"),
            std::string::npos);
}

TEST(EncodeVideos, WhatCannotBeReadIsListedAndTheRestEncoded) {
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
  const auto rows = io::parse_csv(file_bytes(folder / "a.skipped.csv"), "list");
  EXPECT_EQ(rows.size(), 7u);  // header, five skipped, one without a caption
  EXPECT_EQ(LatentDataset(folder / "a.h5").size(), 3);
}

TEST(EncodeVideos, NothingToEncodeIsTheUsersError) {
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

TEST(EncodeVideos, LongVideosGiveSeveralClips) {
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

TEST(EncodeVideos, HeldOutClipsAndTheOthersTogetherAreAll) {
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
  options.hold_out_every = 6;  // of five clips none is the sixth
  const std::string none = error_of<UserError>([&] { encode_videos(options); });
  EXPECT_NE(none.find("none is held out"), std::string::npos) << none;
}

TEST(EncodeVideos, ThreadsDoNotChangeTheResult) {
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

}  // namespace
}  // namespace vmla::data
