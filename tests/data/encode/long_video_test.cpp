#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "data/store/latent_dataset.h"
#include "tests/data/encode/killed_job.h"
#include "tests/data/encode/shape_videos.h"
#include "tests/support/temporary_folder.h"

/// A video of many clips is stored piece by piece.
namespace vmla::data {
namespace fs = std::filesystem;
namespace {

class LongVideo : public testing::Test {
 protected:
  LongVideo() {
    SynthOptions synth = synth_options(folder_ / "v", 2);
    synth.frames = 270;  // 30 clips a video
    synth.format = "y4m";
    synth.size = 32;
    synth_videos(synth);
    fs::rename(folder_ / "v/shape_00001.y4m", folder_ / "v/short.y4m");
    write_bytes(folder_ / "v/captions.csv",
                "file,caption\nshape_00000.y4m,long\nshort.y4m,other\n");
  }

  EncodeOptions options(const std::string& out, double part_seconds) const {
    EncodeOptions options = encode_options(folder_ / "v", folder_ / out);
    options.part_seconds = part_seconds;
    return options;
  }

  TemporaryFolder folder_;
};

TEST_F(LongVideo, KilledWithinItGoesOnWhereItWas) {
  EXPECT_EQ(encode_videos(options("whole.h5", 15)).clips, 60);
  const EncodeOptions parts = options("killed.h5", 0);
  ASSERT_TRUE(kill_after_six_parts(parts.out, [&] { encode_videos(parts); }));
  // Six parts of two clips: the first video has 30.
  const EncodeReport report = encode_videos(parts);
  EXPECT_EQ(report.clips, 60);
  EXPECT_TRUE(file_bytes(folder_ / "killed.h5") == file_bytes(folder_ / "whole.h5"));
  EXPECT_FALSE(fs::exists(folder_ / "killed.h5.parts"));
}

TEST_F(LongVideo, HeldOutClipsAreTheSameAfterAKill) {
  EncodeOptions whole = options("whole.h5", 15);
  whole.hold_out_every = 3;
  EXPECT_EQ(encode_videos(whole).clips, 40);
  EncodeOptions parts = options("killed.h5", 0);
  parts.hold_out_every = 3;
  ASSERT_TRUE(kill_after_six_parts(parts.out, [&] { encode_videos(parts); }));
  encode_videos(parts);
  EXPECT_TRUE(file_bytes(folder_ / "killed.h5") == file_bytes(folder_ / "whole.h5"));
}

}  // namespace
}  // namespace vmla::data
