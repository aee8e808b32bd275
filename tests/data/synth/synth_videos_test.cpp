#include "data/synth/synth_videos.h"

#include <gtest/gtest.h>

#include "model/io/error.h"
#include "tests/data/encode/shape_videos.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(SynthVideos, AnInterruptedRunGoesOnAndOtherClipsAreRefused) {
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

}  // namespace
}  // namespace vmla::data
