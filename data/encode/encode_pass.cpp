#include "data/encode/encode_pass.h"

#include <optional>

#include "data/encode/clip_encoder.h"
#include "data/encode/clips_of_codec.h"
#include "data/encode/encode_losses.h"
#include "data/encode/encode_parts.h"
#include "data/encode/job_fingerprint.h"
#include "data/encode/job_progress.h"
#include "data/synth/synth_videos.h"
#include "data/video/decode_pool.h"
#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

LatentInfo info_of_pass(const EncodeOptions& options,
                        const model::VideoCodec& codec,
                        const model::TextEncoder& text) {
  LatentInfo info = info_of_clips(codec,
                                  {.frames = options.frames,
                                   .height = options.height,
                                   .width = options.width,
                                   .fps = options.fps});
  info.scene = scene_of_folder(options.videos);
  set_text_encoder(info, text);
  if (options.negative_prompt) set_negative_prompt(info, text, *options.negative_prompt);
  return info;
}

std::string fingerprint_of(const EncodeOptions& options,
                           const LatentInfo& info,
                           const std::vector<VideoEntry>& videos) {
  JobFingerprint job;
  job.line(info.codec_hash);
  job.line(info.text_encoder_hash);
  if (model::codec_has_weights(options.codec)) {  // their precision and tiles move the last bits
    job.line(options.codec_options.precision, options.codec_options.tile);
  }
  job.line(options.frames,
           options.height,
           options.width,
           options.fps,
           options.stride,
           options.max_clips,
           options.hold_out_every,
           options.held_out);
  if (!options.sizes.empty()) {  // which decide what each video becomes
    std::string sizes;
    for (const ClipSize& size : options.sizes) sizes += size.name() + " ";
    job.record("sizes", sizes);
  }
  if (!info.scene.empty()) job.line(info.scene);
  if (options.negative_prompt) job.record("negative prompt", *options.negative_prompt);
  // A video counts by its name and size: to read all of them would take too long.
  for (const VideoEntry& video : videos) {
    std::error_code missing;
    const uintmax_t bytes = fs::file_size(options.videos / video.file, missing);
    job.record(video.file, missing ? 0 : bytes, video.caption.value_or(""));
  }
  return job.hash();
}

/// True if the clip belongs to the half of the data that is asked for.
bool is_wanted(const EncodeOptions& options, const DecodedClip& clip) {
  if (options.hold_out_every == 0) return true;
  const int64_t number = clip.first_frame / options.stride;
  const bool is_held_out = number % options.hold_out_every == options.hold_out_every - 1;
  return is_held_out == options.held_out;
}

/// Decodes those of `mine` that `parts` does not hold yet, encodes their clips and adds them.
void encode_missing(const EncodeOptions& options,
                    const std::vector<VideoEntry>& videos,
                    const std::vector<size_t>& mine,
                    ClipEncoder& encoder,
                    EncodeParts& parts,
                    io::GracefulStop& stop) {
  const auto first = static_cast<size_t>(parts.end_video());
  std::vector<size_t> places;  // in `videos`, of those that are decoded
  std::vector<fs::path> paths;
  for (const size_t video : mine) {
    if (video < first) continue;
    places.push_back(video);
    paths.push_back(options.videos / videos[video].file);
  }
  // Videos of other passes are ended without a clip: every pass numbers all of the folder.
  const auto pass_over_up_to = [&](size_t video) {
    while (static_cast<size_t>(parts.end_video()) < video) parts.end_of_video(std::nullopt);
  };
  DecodePool pool(
      paths,
      {.height = options.height,
       .width = options.width,
       .fps = options.fps,
       .time_limit_seconds = options.time_limit_seconds},
      {.frames = options.frames, .stride = options.stride, .max_clips = options.max_clips},
      options.threads,
      options.decoder);
  JobProgress progress("encode", "videos", static_cast<long>(videos.size()));
  progress.update(static_cast<long>(first));
  int64_t clips_of_video = 0;
  for (DecodedClip clip; pool.next(clip, [&] { stop.check(); });) {
    const VideoEntry& video = videos[places[clip.video]];
    pass_over_up_to(places[clip.video]);
    if (!clip.is_end()) {
      ++clips_of_video;
      const bool is_missing = !parts.holds(video.file, clip.first_frame);
      if (is_missing && is_wanted(options, clip)) parts.add(encoder.encode(clip, video));
      progress.update(static_cast<long>(parts.end_video()),
                      formatted("{}, clip {}", video.file, clips_of_video));
    } else {
      parts.end_of_video(loss_of(video, clip.outcome, clips_of_video, options.frames));
      clips_of_video = 0;
      progress.update(static_cast<long>(parts.end_video()), video.file);
    }
    stop.check();
  }
  pass_over_up_to(videos.size());
}

}  // namespace

std::string pass_fingerprint(const EncodeOptions& options,
                             const std::vector<VideoEntry>& videos,
                             const model::VideoCodec& codec,
                             const model::TextEncoder& text) {
  return fingerprint_of(options, info_of_pass(options, codec, text), videos);
}

EncodeReport run_encode_pass(const EncodePass& pass,
                             const VideoFolder& folder,
                             const model::VideoCodec& codec,
                             const model::TextEncoder& text) {
  const EncodeOptions& options = pass.options;
  const std::vector<VideoEntry>& videos = folder.videos;
  const auto claim = claim_output(options.out, options.overwrite);
  const LatentInfo info = info_of_pass(options, codec, text);
  EncodeParts parts({.out = options.out,
                     .info = info,
                     .empty_text = text_rows(text, ""),
                     .fingerprint = fingerprint_of(options, info, videos),
                     .part_seconds = options.part_seconds});
  EncodeReport report;
  report.videos = static_cast<int64_t>(pass.mine.size());
  report.resumed_videos = parts.end_video();
  if (report.resumed_videos > 0) {
    log::info("going on with an unfinished job: {} of {} videos are done",
              report.resumed_videos,
              videos.size());
  }
  ClipEncoder encoder(codec, text);
  // It outlives the decoders, whose threads may take long to end, and lasts while parts are merged.
  io::GracefulStop stop([&] {
    parts.commit();
    return formatted("{} of {} and {} are stored; the same command goes on from there",
                     parts.end_video(),
                     io::counted(videos.size(), "video"),
                     io::counted(parts.clips(), "clip"));
  });
  encode_missing(options, videos, pass.mine, encoder, parts, stop);
  parts.commit();

  for (const size_t video : pass.mine) {
    if (!videos[video].caption) report.no_caption.push_back(videos[video].file);
  }
  report.passed_over = folder.passed_over;
  report.skipped = parts.skipped();
  list_losses(options.out, pass.shown, report);
  if (parts.clips() == 0) {
    parts.remove();
    return report;
  }
  parts.merge();
  report.clips = parts.clips();
  return report;
}

}  // namespace vmla::data
