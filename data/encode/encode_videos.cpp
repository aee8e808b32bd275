#include "data/encode/encode_videos.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <thread>

#include "data/encode/clip_encoder.h"
#include "data/encode/clips_of_codec.h"
#include "data/encode/counted.h"
#include "data/encode/encode_parts.h"
#include "data/encode/job_fingerprint.h"
#include "data/encode/job_progress.h"
#include "data/synth/synth_videos.h"
#include "data/video/csv.h"
#include "data/video/decode_pool.h"
#include "data/video/video_folder.h"
#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

void check_options(const EncodeOptions& options) {
  const auto at_least_one = [](const char* name, int64_t value) {
    if (value < 1) fail_user("data encode: {} is {}, must be at least 1", name, value);
  };
  at_least_one("frames", options.frames);
  at_least_one("height", options.height);
  at_least_one("width", options.width);
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
  check_clip_size("data encode: ",
                  options.codec,
                  model::codec_geometry(options.codec),
                  {.frames = options.frames, .height = options.height, .width = options.width});
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

/// What a video lost, in words; nothing if all of it became clips.
std::optional<SkippedVideo> loss_of(const VideoEntry& video,
                                    const ReadOutcome& outcome,
                                    int64_t clips,
                                    int64_t frames) {
  const std::string& problem = outcome.problem;
  if (clips > 0 && problem.empty()) return std::nullopt;
  if (clips > 0) {
    return SkippedVideo{video.file,
                        formatted("{}; {} before it kept", problem, counted(clips, "clip"))};
  }
  if (!problem.empty()) return SkippedVideo{video.file, problem};
  return SkippedVideo{video.file,
                      formatted("shorter than the clip: {} of {} frames", outcome.frames, frames)};
}

/// Decodes the videos that `parts` does not hold yet, encodes their clips and adds them.
void encode_missing(const EncodeOptions& options,
                    const std::vector<VideoEntry>& videos,
                    ClipEncoder& encoder,
                    EncodeParts& parts,
                    io::GracefulStop& stop) {
  const auto first = static_cast<size_t>(parts.end_video());
  std::vector<fs::path> paths;
  for (size_t i = first; i < videos.size(); ++i) paths.push_back(options.videos / videos[i].file);
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
    const VideoEntry& video = videos[first + clip.video];
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
}

/// Logs the first ten of a list.
void log_some(const auto& items, const auto& line) {
  constexpr size_t kMost = 10;
  for (size_t i = 0; i < std::min(items.size(), kMost); ++i) log::info(line(items[i]));
  if (items.size() > kMost) log::info("... and {} more", items.size() - kMost);
}

/// Says what lies in the folder and is not read.
void log_passed_over(const VideoFolder& folder) {
  log_some(folder.passed_over,
           [](const PassedOver& p) { return formatted("passed over {}: {}", p.file, p.reason); });
  if (!folder.links_outside.empty()) {
    const auto& [link, target] = folder.links_outside.front();
    log::info("{} lead out of the folder and are followed (the first: {} to {})",
              counted(folder.links_outside.size(), "link"),
              link,
              target);
  }
  if (folder.other_files.empty()) return;
  std::map<std::string, int64_t> by_extension;
  for (const PassedOver& other : folder.other_files) ++by_extension[other.reason];
  std::string counts;
  for (const auto& [extension, count] : by_extension) {
    counts += formatted("{}{} {}",
                        counts.empty() ? "" : ", ",
                        count,
                        extension.empty() ? "without an extension" : extension);
  }
  log::info("passed over, as no videos by their names: {} (the first: {})",
            counts,
            folder.other_files.front().file);
}

/// Logs the first ten videos that were skipped, cut short or without a caption, and writes all of
/// them to NAME.skipped.csv, with what of the folder was passed over.
void list_losses(const fs::path& out, const EncodeReport& report) {
  log_some(report.skipped,
           [](const SkippedVideo& v) { return formatted("skipped {}: {}", v.file, v.reason); });
  log_some(report.no_caption,
           [](const std::string& v) { return formatted("no caption for {}: taken as empty", v); });
  fs::path list = out;
  list.replace_extension(".skipped.csv");
  std::error_code ignored;
  fs::remove(list, ignored);  // of an earlier job
  if (report.skipped.empty() && report.no_caption.empty() && report.passed_over.empty()) return;
  std::string rows = csv_row({"file", "reason"});
  for (const PassedOver& other : report.passed_over) {
    rows += csv_row({other.file, formatted("passed over: {}", other.reason)});
  }
  for (const SkippedVideo& video : report.skipped) rows += csv_row({video.file, video.reason});
  for (const std::string& file : report.no_caption) {
    rows += csv_row({file, "no caption: encoded with the empty prompt"});
  }
  io::write_file_atomically(list, rows);
  log::info(
      "{} of {} videos skipped or cut short, {} without a caption, {} passed over: listed in {}",
      report.skipped.size(),
      report.videos,
      report.no_caption.size(),
      report.passed_over.size(),
      list.string());
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
  const std::vector<VideoEntry>& videos = folder.videos;
  const auto claim = claim_output(options.out, options.overwrite);

  LatentInfo info = info_of_clips(*codec,
                                  {.frames = options.frames,
                                   .height = options.height,
                                   .width = options.width,
                                   .fps = options.fps});
  info.scene = scene_of_folder(options.videos);
  set_text_encoder(info, *text);
  if (options.negative_prompt) set_negative_prompt(info, *text, *options.negative_prompt);
  EncodeParts parts({.out = options.out,
                     .info = info,
                     .empty_text = text_rows(*text, ""),
                     .fingerprint = fingerprint_of(options, info, videos),
                     .part_seconds = options.part_seconds});
  log_passed_over(folder);
  EncodeReport report;
  report.passed_over = folder.passed_over;
  report.videos = static_cast<int64_t>(videos.size());
  report.resumed_videos = parts.end_video();
  if (report.resumed_videos > 0) {
    log::info("going on with an unfinished job: {} of {} videos are done",
              report.resumed_videos,
              report.videos);
  }
  ClipEncoder encoder(*codec, *text);
  // It outlives the decoders, whose threads may take long to end, and lasts while parts are merged.
  io::GracefulStop stop([&] {
    parts.commit();
    return formatted("{} of {} and {} are stored; the same command goes on from there",
                     parts.end_video(),
                     counted(videos.size(), "video"),
                     counted(parts.clips(), "clip"));
  });
  encode_missing(options, videos, encoder, parts, stop);
  parts.commit();

  for (const VideoEntry& video : videos) {
    if (!video.caption) report.no_caption.push_back(video.file);
  }
  report.skipped = parts.skipped();
  list_losses(options.out, report);
  if (parts.clips() == 0) {
    parts.remove();
    fail_without_clips(options, report);
  }
  parts.merge();
  report.clips = parts.clips();
  report.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return report;
}

}  // namespace vmla::data
