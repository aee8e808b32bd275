#include "launch/commands/data_synth.h"

namespace vmla::launch {

const CommandText DataSynthArgs::kText = {
    "data synth",
    "renders captioned moving shapes as video files",
    R"(Clips of "a COLOUR SHAPE moves DIRECTION" with a captions file: the data of the tiny pipeline.

Example:
  vmla data synth --out videos --count 240)"};

void DataSynthArgs::define(OptionSet& options) {
  options.text("--out", out, "DIR", "folder for the videos and captions file").required();
  options.integer_from_1("--count", count, "clips").type("N").required();
  options.integer_from_0("--seed", seed, "seed of size, speed, start and texture").shows_default();
  options.flag("--held-out",
               held_out,
               "the 12 caption combinations kept out of training, instead of the other 60");
  options.integer_from_1("--frames", frames, "frames a clip").shows_default();
  options.integer_from_1("--size", size, "pixels a side; below 128 H.264 ruins the shapes")
      .shows_default();
  options.number_above_0("--fps", fps, "frames a second").shows_default();
  options.choice("--format",
                 format,
                 {"mp4", "avi", "webm", "mkv", "y4m"},
                 "format of the video files (default: mp4)");
}

}  // namespace vmla::launch
