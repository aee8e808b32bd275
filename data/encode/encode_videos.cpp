#include "data/encode/encode_videos.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <thread>

#include "data/encode/clips_of_codec.h"
#include "data/encode/encode_losses.h"
#include "data/encode/encode_pass.h"
#include "data/encode/encode_sizes.h"
#include "data/video/decoder_process.h"
#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<ClipSize> sizes_of(const EncodeOptions& options) {
  return options.sizes.empty() ? std::vector<ClipSize>{{options.height, options.width}}
                               : options.sizes;
}

void check_options(const EncodeOptions& options) {
  const auto at_least_one = [](const char* name, int64_t value) {
    if (value < 1) fail_user("data encode: {} is {}, must be at least 1", name, value);
  };
  at_least_one("frames", options.frames);
  const std::vector<ClipSize> sizes = sizes_of(options);
  for (const ClipSize& size : sizes) {
    at_least_one("height", size.height);
    at_least_one("width", size.width);
  }
  if (!(options.fps > 0 && options.fps <= 1000)) {
    fail_user("data encode: fps is {:g}, must be above 0 and at most 1000", options.fps);
  }
  if (options.stride < 0 || options.max_clips < 0 || options.threads < 0) {
    fail_user("data encode: stride, max-clips and threads must not be negative");
  }
  if (options.hold_out_every < 0 || options.hold_out_every == 1) {
    fail_user("data encode: hold-out-every is {}, must be 0 (hold out nothing) or at least 2",
              options.hold_out_every);
  }
  if (options.held_out && options.hold_out_every == 0) {
    fail_user("data encode: held-out clips are asked for, and hold-out-every does not say which");
  }
  if (!(options.time_limit_seconds > 0)) {
    fail_user("data encode: time-limit must be above 0 seconds");
  }
  for (const ClipSize& size : sizes) {
    check_clip_size("data encode: ",
                    options.codec,
                    model::codec_geometry(options.codec),
                    {.frames = options.frames, .height = size.height, .width = size.width});
  }
  if (model::codec_of_latents(options.codec) != options.codec) {
    fail_user("data encode: codec {} decodes alone; encode with {}",
              options.codec,
              model::codec_of_latents(options.codec));
  }
}

/// The options with everything that was left to us.
EncodeOptions complete(EncodeOptions options) {
  if (options.stride == 0) options.stride = options.frames;
  if (options.threads == 0) options.threads = std::max(1u, std::thread::hardware_concurrency());
  if (options.decoder.empty()) options.decoder = find_decoder_program();
  return options;
}

[[noreturn]] void fail_without_clips(const EncodeOptions& options, const EncodeReport& report) {
  if (report.skipped.empty()) {
    fail_user(
        "{}: {} videos give no clip: none is held out, as no video gives {} clips "
        "(hold-out-every)",
        options.videos.string(),
        report.videos,
        options.hold_out_every);
  }
  fail_user("{}: no clip could be made of {} videos; the first: {}: {}",
            options.videos.string(),
            report.videos,
            report.skipped.front().file,
            report.skipped.front().reason);
}

}  // namespace

EncodeReport encode_videos(const EncodeOptions& given) {
  const auto begin = Clock::now();
  check_options(given);
  const auto codec = model::make_video_codec(given.codec, given.codec_options);
  const auto text = model::make_text_encoder(given.text, given.text_options);
  const EncodeOptions options = complete(given);
  const VideoFolder folder = read_video_folder(options.videos);
  log_passed_over(folder);
  EncodeReport report;
  if (options.sizes.empty()) {
    EncodePass pass{.options = options, .shown = options.out, .mine = {}};
    pass.mine.resize(folder.videos.size());
    std::iota(pass.mine.begin(), pass.mine.end(), size_t{0});
    report = run_encode_pass(pass, folder, *codec, *text);
  } else {
    report = encode_sizes(options, folder, *codec, *text);
  }
  if (report.clips == 0) fail_without_clips(options, report);
  report.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return report;
}

}  // namespace vmla::data
