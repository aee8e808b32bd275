#include "launch/commands/data_encode.h"

#include "data/encode/encode_videos.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/compute_device.h"

namespace vmla::launch {

int run(const DataEncodeArgs& args) {
  trainer::prepare_device(args.device, "--device");
  data::EncodeOptions options;
  options.videos = args.videos;
  options.out = args.out;
  options.codec = args.codec;
  options.codec_options = {.weights = args.codec_weights,
                           .precision = args.precision,
                           .device = args.device,
                           .tile = args.tile,
                           .decodes = false};
  options.text = args.text;
  options.text_options = text_encoder_options(args, args);
  options.negative_prompt = args.negative_prompt;
  options.frames = args.frames;
  if (args.sizes) {
    if (args.height || args.width) {
      fail_user("--sizes says height and width; leave out --height and --width, or --sizes");
    }
    options.sizes = data::parse_clip_sizes("--sizes", *args.sizes);
  }
  options.height = args.height.value_or(options.height);
  options.width = args.width.value_or(options.width);
  options.fps = args.fps;
  options.stride = args.stride;
  options.max_clips = args.max_clips;
  options.hold_out_every = args.hold_out_every;
  options.held_out = args.held_out;
  options.threads = args.threads;
  options.time_limit_seconds = args.timeout_seconds;
  options.overwrite = args.overwrite;
  const data::EncodeReport report = data::encode_videos(options);
  if (args.sizes) {
    log::info("{}: {} of {}, in {:g} s",
              args.out,
              io::counted(report.clips, "clip"),
              io::counted(report.videos, "video"),
              report.seconds);
    return kDone;
  }
  log::info("{}: {} of {}, {} skipped or cut short, in {:g} s",
            args.out,
            io::counted(report.clips, "clip"),
            io::counted(report.videos, "video"),
            report.skipped.size(),
            report.seconds);
  return kDone;
}

}  // namespace vmla::launch
