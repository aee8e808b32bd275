#include "analysis/runs/newest_samples.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "analysis/runs/readable_text.h"
#include "model/io/json_text.h"

namespace vmla::analysis {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// N of a folder called step_N, or -1.
int64_t step_of(const fs::path& folder) {
  const std::string prefix = "step_", name = folder.filename();
  if (!name.starts_with(prefix)) return -1;
  int64_t step = -1;
  const char* const end = name.data() + name.size();
  const auto [last, problem] = std::from_chars(name.data() + prefix.size(), end, step);
  return problem == std::errc() && last == end ? step : -1;
}

// The folder of the newest step, noted in run.sample_step; empty without any.
fs::path newest_folder(RunContents& run) {
  std::error_code error;  // a run without samples/ has none
  fs::path newest;
  fs::directory_iterator entry(run.folder / "samples", error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code unreadable;
    if (entry->is_directory(unreadable) && step_of(entry->path()) > run.sample_step) {
      run.sample_step = step_of(entry->path());
      newest = entry->path();
    }
  }
  return newest;
}

SampleClip clip_of(const fs::path& file, const Json& record) {
  SampleClip clip{.file = file};
  if (record.contains("prompt") && record["prompt"].is_string()) clip.prompt = record["prompt"];
  if (record.contains("frames") && record["frames"].is_number())
    clip.frames = record["frames"].get<int64_t>();
  if (record.contains("fps") && record["fps"].is_number()) clip.fps = record["fps"].get<double>();
  return clip;
}

std::vector<SampleClip> listed_clips(const Json& records, const fs::path& folder) {
  std::vector<SampleClip> clips;
  for (const Json& record : records) {
    if (!record.is_object() || !record.contains("file") || !record["file"].is_string()) continue;
    // A name, never a path: the page must not embed files from elsewhere.
    const fs::path file = folder / fs::path(record["file"].get<std::string>()).filename();
    std::error_code unreadable;
    if (fs::is_regular_file(file, unreadable)) clips.push_back(clip_of(file, record));
  }
  return clips;
}

std::vector<SampleClip> unlisted_clips(const fs::path& folder) {
  std::vector<SampleClip> clips;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const fs::path extension = entry->path().extension();
    if (extension == ".mp4" || extension == ".y4m") clips.push_back({.file = entry->path()});
  }
  std::ranges::sort(clips, {}, &SampleClip::file);
  return clips;
}

}  // namespace

void read_newest_samples(RunContents& run) {
  const fs::path folder = newest_folder(run);
  if (folder.empty()) return;
  const Json records =
      io::parse_json_or_discard<Json>(readable_text(folder / "samples.json").value_or(""));
  if (records.is_array()) {
    run.samples = listed_clips(records, folder);
    return;
  }
  run.samples = unlisted_clips(folder);
  run.problems.push_back(
      "samples.json is missing or damaged: the videos are shown without their prompts.");
}

}  // namespace vmla::analysis
