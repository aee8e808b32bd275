#include "data/encode/clip_encoder.h"

#include <ATen/ATen.h>

#include <chrono>
#include <iomanip>
#include <map>
#include <sstream>
#include <thread>

#include "data/encode/encode_parts.h"
#include "data/video/csv.h"
#include "data/video/decode_pool.h"
#include "data/video/video_folder.h"
#include "model/codec/text_encoder.h"
#include "model/codec/video_codec.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/io/sha256.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kListedAtMost = 10;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void check_options(const EncodeOptions& options, const model::VideoCodec& codec) {
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
  if (!(options.time_limit_seconds > 0))
    fail_user("data encode: time-limit must be above 0 seconds");
  const int64_t factor = codec.spatial_factor();
  if (options.height % factor != 0 || options.width % factor != 0) {
    fail_user("data encode: size {}x{} is no multiple of {}, what codec {} needs",
              options.height,
              options.width,
              factor,
              codec.name());
  }
}

/// Everything that decides the result, in one hash: parts of another job must not be mixed in.
std::string job_hash(const EncodeOptions& options,
                     const LatentInfo& info,
                     const std::vector<VideoEntry>& videos) {
  std::ostringstream text;
  text << std::setprecision(17) << info.codec_hash << '\n'
       << info.text_encoder_hash << '\n'
       << options.frames << ' ' << options.height << ' ' << options.width << ' ' << options.fps
       << ' ' << options.stride << ' ' << options.max_clips << ' ' << options.hold_out_every << ' '
       << options.held_out << '\n';
  for (const VideoEntry& video : videos) {
    std::error_code missing;
    const auto bytes = fs::file_size(options.videos / video.file, missing);
    text << video.file << '\0' << (missing ? 0 : bytes) << '\0'
         << (video.caption ? *video.caption : "") << '\n';
  }
  return io::sha256_hex(text.str().data(), text.str().size());
}

/// Encodes one clip after another and collects them for the next part.
class ClipEncoder {
 public:
  ClipEncoder(const EncodeOptions& options,
              const model::VideoCodec& codec,
              const model::TextEncoder& text)
      : options_(options), codec_(codec), text_(text) {}

  EncodedClip encode(const DecodedClip& clip, const VideoEntry& video) {
    const at::Tensor bytes = at::from_blob(const_cast<uint8_t*>(clip.rgb_FHW3.data()),
                                           {options_.frames, options_.height, options_.width, 3},
                                           at::kByte);
    const at::Tensor pixels = bytes.permute({0, 3, 1, 2}).to(at::kFloat).div(127.5).sub(1.0);
    EncodedClip out;
    set_latents(out, codec_.encode(pixels));
    out.record.caption = video.caption.value_or("");
    out.record.source_file = video.file;
    out.record.first_frame = clip.first_frame;
    out.text = caption_rows(out.record.caption);
    out.record.text_rows = static_cast<int64_t>(out.text.size()) / text_.text_dim();
    return out;
  }

  const std::vector<float>& caption_rows(const std::string& prompt) {
    if (prompt != last_prompt_ || last_rows_.empty()) {  // clips of one video share their caption
      last_prompt_ = prompt;
      last_rows_ = text_rows(text_, prompt);
    }
    return last_rows_;
  }

 private:
  const EncodeOptions& options_;
  const model::VideoCodec& codec_;
  const model::TextEncoder& text_;
  std::string last_prompt_;
  std::vector<float> last_rows_;
};

/// What `outcome` leaves out, in words; empty if the whole video became clips.
std::string loss_in_words(const ReadOutcome& outcome, int64_t clips, int64_t frames) {
  if (clips > 0) {
    return outcome.problem.empty()
               ? ""
               : formatted("{}; {} clips before it are kept", outcome.problem, clips);
  }
  if (!outcome.problem.empty()) return outcome.problem;
  return formatted("shorter than the clip: {} of {} frames", outcome.frames, frames);
}

void report(const EncodeOptions& options, const EncodeReport& report) {
  const auto warn_some = [](const auto& items, const auto& line) {
    for (size_t i = 0; i < std::min(items.size(), kListedAtMost); ++i) log::info(line(items[i]));
    if (items.size() > kListedAtMost) log::info("... and {} more", items.size() - kListedAtMost);
  };
  warn_some(report.skipped,
            [](const SkippedVideo& v) { return formatted("skipped {}: {}", v.file, v.reason); });
  warn_some(report.no_caption,
            [](const std::string& v) { return formatted("no caption for {}: taken as empty", v); });
  fs::path list = options.out;
  list.replace_extension(".skipped.csv");
  std::error_code ignored;
  fs::remove(list, ignored);
  if (report.skipped.empty() && report.no_caption.empty()) return;
  std::string rows = csv_row({"file", "reason"});
  for (const SkippedVideo& video : report.skipped) rows += csv_row({video.file, video.reason});
  for (const std::string& file : report.no_caption)
    rows += csv_row({file, "no caption: encoded with the empty prompt"});
  io::write_file_atomically(list, rows);
  log::info("{} of {} videos skipped or cut short, {} without a caption: listed in {}",
            report.skipped.size(),
            report.videos,
            report.no_caption.size(),
            list.string());
}

}  // namespace

EncodeReport encode_videos(const EncodeOptions& given) {
  const auto begin = Clock::now();
  EncodeOptions options = given;
  const auto codec = model::make_video_codec(options.codec);
  const auto text = model::make_text_encoder(options.text);
  check_options(options, *codec);
  if (options.stride == 0) options.stride = options.frames;
  if (options.threads == 0) options.threads = std::max(1u, std::thread::hardware_concurrency());
  if (options.decoder.empty()) options.decoder = find_decoder_program();
  const std::vector<VideoEntry> videos = list_videos(options.videos);
  const auto claim = claim_output(options.out, options.overwrite);

  LatentInfo info;
  info.codec = codec->name();
  info.codec_hash = codec->hash();
  info.text_encoder = text->name();
  info.text_encoder_hash = text->hash();
  info.fps = options.fps;
  info.pixel_height = options.height;
  info.pixel_width = options.width;
  info.pixel_frames = options.frames;
  info.text_dim = text->text_dim();
  ClipEncoder encoder(options, *codec, *text);
  EncodeParts parts(options.out,
                    info,
                    text_rows(*text, ""),
                    job_hash(options, info, videos),
                    options.part_seconds);

  EncodeReport done;
  done.videos = static_cast<int64_t>(videos.size());
  done.resumed_videos = parts.end_video();
  if (done.resumed_videos > 0) {
    log::info("going on with an unfinished job: {} of {} videos are done",
              done.resumed_videos,
              done.videos);
  }
  std::vector<fs::path> paths;
  const auto first = static_cast<size_t>(parts.end_video());
  for (size_t i = first; i < videos.size(); ++i) paths.push_back(options.videos / videos[i].file);
  {
    const ReadOptions read = {
        options.height, options.width, options.fps, 0, options.time_limit_seconds};
    DecodePool pool(paths,
                    read,
                    {options.frames, options.stride, options.max_clips},
                    options.threads,
                    options.decoder);
    log::ProgressBar progress("encode", static_cast<long>(videos.size()));
    int64_t clips_of_video = 0;
    for (DecodedClip clip; pool.next(clip);) {
      const VideoEntry& video = videos[first + clip.video];
      if (!clip.is_end()) {
        ++clips_of_video;
        const bool is_held_out = options.hold_out_every > 0 &&
                                 clip.first_frame / options.stride % options.hold_out_every ==
                                     options.hold_out_every - 1;
        if (is_held_out == options.held_out) parts.add(encoder.encode(clip, video));
        continue;
      }
      const std::string loss = loss_in_words(clip.outcome, clips_of_video, options.frames);
      parts.end_of_video(loss.empty() ? std::nullopt
                                      : std::optional(SkippedVideo{video.file, loss}));
      clips_of_video = 0;
      progress.update(static_cast<long>(parts.end_video()), video.file);
    }
  }
  parts.commit();
  for (const VideoEntry& video : videos) {
    if (!video.caption) done.no_caption.push_back(video.file);
  }
  done.skipped = parts.skipped();
  report(options, done);
  if (parts.clips() == 0) {
    parts.remove();
    fail_user("{}: no clip could be made of {} videos; the first: {}: {}",
              options.videos.string(),
              done.videos,
              done.skipped.front().file,
              done.skipped.front().reason);
  }
  parts.merge();
  done.clips = parts.clips();
  done.seconds = seconds_since(begin);
  return done;
}

}  // namespace vmla::data
