#include "launch/commands/data_synth.h"

namespace vmla::launch {

const CommandText DataSynthArgs::kText = {
    "data synth",
    "renders captioned moving shapes as video files",
    R"(Clips of "a COLOUR SHAPE moves DIRECTION" with a captions file: the data of the tiny pipeline.

Example:
  vmla data synth --out videos --count 240

--scene mosaic puts a static random ground behind them, which no caption names: what a model can only remember. The
options from --cells on set how much there is to remember.

  vmla data synth --out mosaic --count 240 --scene mosaic --channels gray)"};

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
  options.choice("--scene",
                 scene,
                 {"shapes", "mosaic"},
                 "what is behind the shapes: a dark background, or a mosaic (default: shapes)");
  options.integer_from_1("--cells", mosaic.cells, "mosaic: cells a side").shows_default();
  options.choice("--channels",
                 mosaic.channels,
                 {"rgb", "gray"},
                 "mosaic: a number of a cell for each channel, or one for all (default: rgb)");
  options.integer_from_1("--levels", mosaic.levels, "mosaic: values of a number; 2: a bit")
      .shows_default();
  options
      .number_above_0("--amplitude",
                      mosaic.amplitude,
                      "mosaic: rms of the numbers, in pixel values from -1 to 1")
      .shows_default();
  options.any_number("--level", mosaic.level, "mosaic: its mean, in pixel values from -1 to 1")
      .shows_default();
  options
      .integer_from_0(
          "--hidden-first", mosaic.hidden_first, "mosaic: first frame in which it is hidden")
      .shows_default();
  options
      .integer_from_0("--hidden-frames",
                      mosaic.hidden_frames,
                      "mosaic: frames for which it is hidden before it is shown again")
      .shows_default();
  options.choice("--format",
                 format,
                 {"mp4", "avi", "webm", "mkv", "y4m"},
                 "format of the video files (default: mp4)");
}

}  // namespace vmla::launch
