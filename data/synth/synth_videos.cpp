#include "data/synth/synth_videos.h"

#include <ATen/ATen.h>

#include <atomic>
#include <exception>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <vector>

#include "data/synth/moving_shapes.h"
#include "data/video/decoder_process.h"
#include "data/video/text_file.h"
#include "data/video/video_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/csv.h"
#include "model/io/error.h"
#include "model/io/graceful_stop.h"
#include "model/io/json_text.h"
#include "model/io/log.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSettingsFile = "moving_shapes.json";

void check_options(const SynthOptions& options) {
  if (options.count < 1) fail_user("data synth: count is {}, must be at least 1", options.count);
  if (options.frames < 2) {
    fail_user("data synth: frames is {}, motion needs at least 2", options.frames);
  }
  if (!(options.fps > 0)) fail_user("data synth: fps is {:g}, must be above 0", options.fps);
  if (options.size < 16 || options.size > 4096 || options.size % 2 != 0) {
    fail_user("data synth: size is {}, must be even and from 16 to 4096", options.size);
  }
  if (options.mosaic) {
    if (const auto problem = mosaic_problem(*options.mosaic, options.frames, options.size)) {
      fail_user("data synth: {} is {}", problem->first, problem->second);
    }
  }
  static const std::set<std::string> formats = {"mp4", "avi", "webm", "mkv", "y4m"};
  if (!formats.contains(options.format)) {
    fail_user("data synth: format is \"{}\", must be mp4, avi, webm, mkv or y4m", options.format);
  }
  if (options.format != "y4m" && default_video_extension() == std::string(".y4m")) {
    fail_user("data synth: format {} needs a build with OpenCV; this one writes y4m",
              options.format);
  }
}

/// The content of moving_shapes.json in the folder, so that a second run can tell an interrupted
/// one with the same options from other clips.
std::string settings_text(const SynthOptions& options) {
  return formatted(R"({{"count": {}, "frames": {}, "fps": {:g}, "size": {}, "seed": {}, )"
                   R"("held_out": {}, "format": "{}"{}}})"
                   "\n",
                   options.count,
                   options.frames,
                   options.fps,
                   options.size,
                   options.seed,
                   options.held_out ? "true" : "false",
                   options.format,
                   options.mosaic ? R"(, "scene": )" + scene_text(options.mosaic) : "");
}

ClipSpec spec_of(const SynthOptions& options, int64_t index) {
  return draw_clip(
      options.seed, static_cast<uint64_t>(index), options.held_out, options.frames, options.mosaic);
}

std::string file_name(int64_t index, const std::string& format) {
  return formatted("shape_{:05}.{}", index, format);
}

void render_video(const SynthOptions& options,
                  int64_t index,
                  const std::shared_ptr<ChildProcess>& process) {
  const ClipSpec spec = spec_of(options, index);
  VideoWriter writer(options.out / file_name(index, options.format), options.fps, process);
  at::Tensor rgb = at::empty({1, options.size, options.size, 3}, at::kByte);
  for (int64_t f = 0; f < options.frames; ++f) {
    render_frame(spec, f, options.size, rgb.data_ptr<uint8_t>());
    writer.append(rgb.permute({0, 3, 1, 2}));
  }
  writer.close();
}

/// True if the folder is complete already. UserError if it holds other clips.
bool is_complete(const SynthOptions& options) {
  const fs::path settings = options.out / kSettingsFile;
  std::error_code problem;
  if (fs::exists(options.out, problem) && !fs::is_directory(options.out, problem)) {
    fail_user("{}: is no folder; choose another", options.out.string());
  }
  if (fs::exists(settings, problem)) {
    if (read_text(settings) != settings_text(options)) {
      fail_user(
          "{}: holds clips made with other options (moving_shapes.json); remove it or choose "
          "another folder",
          options.out.string());
    }
  } else if (fs::exists(options.out, problem) && !fs::is_empty(options.out, problem)) {
    if (problem) fail_user("{}: {}", options.out.string(), problem.message());
    fail_user("{}: is not empty and was not made by data synth; choose another folder",
              options.out.string());
  }
  return fs::exists(options.out / "captions.csv", problem);
}

/// Renders the videos that are missing, on one thread a core, each with a process that encodes.
/// Rethrows the first failure; the other threads stop at their next video.
void render_missing(const SynthOptions& options) {
  const bool needs_process = options.format != "y4m";
  const fs::path program = !needs_process            ? fs::path()
                           : options.decoder.empty() ? find_decoder_program()
                                                     : options.decoder;
  std::atomic<int64_t> next = 0;
  std::mutex mutex;  // of the three below
  std::exception_ptr failure;
  int64_t done = 0;
  log::ProgressBar progress("synth", static_cast<long>(options.count));
  io::remove_stale_temporaries(options.out);
  io::GracefulStop stop([&] {
    const std::lock_guard lock(mutex);
    io::remove_own_temporaries(options.out);
    return formatted("{}: {} of {} clips are there; run the same command again to go on",
                     options.out.string(),
                     done,
                     options.count);
  });
  const auto work = [&] {
    try {
      const auto process = needs_process ? std::make_shared<ChildProcess>(program) : nullptr;
      for (int64_t index = next++; index < options.count && !io::GracefulStop::is_asked();
           index = next++) {
        // Files appear under their names when they are complete, so one that exists is finished.
        std::error_code ignored;
        if (!fs::exists(options.out / file_name(index, options.format), ignored)) {
          render_video(options, index, process);
        }
        const std::lock_guard lock(mutex);
        if (failure) return;
        progress.update(static_cast<long>(++done));
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
    threads.emplace_back(work);
  }
  for (std::thread& thread : threads) thread.join();
  stop.check();
  if (failure) std::rethrow_exception(failure);
}

void write_captions(const SynthOptions& options) {
  std::string rows = io::csv_row({"file", "caption"});
  for (int64_t i = 0; i < options.count; ++i) {
    rows += io::csv_row({file_name(i, options.format), caption_of(spec_of(options, i).what)});
  }
  io::write_file_atomically(options.out / "captions.csv", rows);
}

}  // namespace

void synth_videos(const SynthOptions& given) {
  SynthOptions options = given;
  if (options.format.empty()) options.format = default_video_extension() + 1;  // without the dot
  check_options(options);
  if (is_complete(options)) {
    log::info("{}: the {} clips are there already", options.out.string(), options.count);
    return;
  }
  std::error_code problem;
  fs::create_directories(options.out, problem);
  if (problem) {
    fail_user("{}: cannot make the folder: {}", options.out.string(), problem.message());
  }
  io::write_file_atomically(options.out / kSettingsFile, settings_text(options));
  render_missing(options);
  write_captions(options);
}

std::string scene_of_folder(const fs::path& folder) {
  const fs::path path = folder / kSettingsFile;
  std::error_code problem;
  if (!fs::is_regular_file(path, problem)) return "";
  const auto settings = io::parse_json_or_discard<nlohmann::json>(io::read_text_file(path));
  if (!settings.is_object() || !settings.contains("scene")) return "";
  return scene_text(parse_scene(settings["scene"].dump(), path.string()));
}

}  // namespace vmla::data
