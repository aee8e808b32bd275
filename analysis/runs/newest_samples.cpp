#include "analysis/runs/newest_samples.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analysis/runs/readable_text.h"

namespace vmla::analysis {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// N of a folder called step_N, or -1.
int64_t step_of(const fs::path& folder) {
  const std::string prefix = "step_", name = folder.filename();
  if (!name.starts_with(prefix)) return -1;
  const std::string digits = name.substr(prefix.size());
  // More digits would not fit into an int64_t.
  if (digits.empty() || digits.size() > 15) return -1;
  return digits.find_first_not_of("0123456789") == std::string::npos ? std::stoll(digits) : -1;
}

// The folder of the newest step, noted in run.sample_step; empty without any.
fs::path newest_folder(RunContents& run) {
  std::error_code error;  // a run without samples/ has none
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(run.folder / "samples", error)) {
    if (entry.is_directory() && step_of(entry.path()) > run.sample_step) {
      run.sample_step = step_of(entry.path());
      newest = entry.path();
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
    if (fs::is_regular_file(file)) clips.push_back(clip_of(file, record));
  }
  return clips;
}

std::vector<SampleClip> unlisted_clips(const fs::path& folder) {
  std::vector<SampleClip> clips;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path extension = entry.path().extension();
    if (extension == ".mp4" || extension == ".y4m") clips.push_back({.file = entry.path()});
  }
  std::ranges::sort(clips, {}, &SampleClip::file);
  return clips;
}

}  // namespace

void read_newest_samples(RunContents& run) {
  const fs::path folder = newest_folder(run);
  if (folder.empty()) return;
  const Json records = Json::parse(readable_text(folder / "samples.json").value_or(""),
                                   nullptr,
                                   /*allow_exceptions=*/false);
  if (records.is_array()) {
    run.samples = listed_clips(records, folder);
    return;
  }
  run.samples = unlisted_clips(folder);
  run.problems.push_back(
      "samples.json is missing or damaged: the videos are shown without their prompts.");
}

}  // namespace vmla::analysis
