#include "launch/commands/data_synth.h"

#include "data/synth/synth_videos.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

namespace vmla::launch {

int run(const DataSynthArgs& args) {
  data::SynthOptions options;
  options.out = args.out;
  options.count = args.count;
  options.frames = args.frames;
  options.fps = args.fps;
  options.size = args.size;
  options.seed = static_cast<uint64_t>(args.seed);
  options.held_out = args.held_out;
  if (args.scene == "mosaic") options.mosaic = args.mosaic;
  if (!args.format.empty()) options.format = args.format;
  data::synth_videos(options);
  log::info("{} of moving shapes in {}, captions in captions.csv",
            io::counted(args.count, "clip"),
            args.out);
  return kDone;
}

}  // namespace vmla::launch
