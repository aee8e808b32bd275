#include "data/video/video_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/evaluation/latent_writer.h"
#include "trainer/evaluation/video_sampler.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

namespace vmla::trainer {
namespace fs = std::filesystem;
namespace {

constexpr const char* kList = "samples.json";

/// "007.mp4": the order of names is the order of prompts, up to a thousand of them.
std::string numbered(size_t index, const char* extension) {
  return formatted("{:03}{}", index, extension);
}

/// Writes samples.json (docs/formats.md), `kept` first; text that is no valid UTF-8 is replaced,
/// not refused.
void write_records(const std::vector<SampleRecord>& records,
                   const fs::path& folder,
                   const nlohmann::ordered_json& kept) {
  nlohmann::ordered_json list = kept;
  for (const SampleRecord& r : records) {
    nlohmann::ordered_json entry = {
        {"file", r.file},
        {"prompt", r.prompt},
        {"seed", r.seed},
        {"frames", r.frames},
        {"fps", r.fps},
        {"seconds_per_chunk", r.chunk_seconds},
        {"cache_seconds", r.cache_seconds},
        {"time_to_first_chunk", r.first_chunk_seconds},
        {"frames_per_second", static_cast<double>(r.frames) / r.seconds},
        {"cache_bytes", r.cache_bytes}};
    if (!r.original.empty()) entry["prompt_en"] = r.original;
    for (const SampleRecord::Part& part : r.later_prompts) {
      entry["later_prompts"].push_back(
          {{"prompt", part.prompt}, {"first_frame", part.first_frame}});
    }
    list.push_back(std::move(entry));
  }
  io::write_file_atomically(
      folder / kList, list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

/// "012" of "012.mp4", "012-3" of "012-3.mp4"; empty for every other name.
std::string number_of(const std::string& name) {
  const std::string stem = fs::path(name).stem().string();
  const std::string extension = fs::path(name).extension().string();
  const size_t dash = std::min(stem.find('-'), stem.size());
  const bool is_number = dash >= 3 && stem.find_first_not_of("0123456789") >= dash &&
                         stem.find_first_not_of("0123456789", dash + 1) == std::string::npos;
  const bool is_ours = extension == ".mp4" || extension == ".y4m" || extension == ".safetensors";
  return is_number && is_ours && stem + extension == name ? stem : "";
}

/// Names in a folder; none where it cannot be read.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code problem;
  fs::directory_iterator entry(folder, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

/// The numbers of the videos that the folder's list names.
std::set<std::string> listed_numbers(const fs::path& folder) {
  std::set<std::string> numbers;
  std::error_code problem;
  if (!fs::is_regular_file(folder / kList, problem)) return numbers;
  const auto list = nlohmann::json::parse(io::read_text_file(folder / kList), nullptr, false);
  if (!list.is_array()) return numbers;
  for (const auto& entry : list) {
    if (!entry.is_object() || !entry.contains("file") || !entry["file"].is_string()) continue;
    const std::string number = number_of(entry["file"].get<std::string>());
    if (!number.empty()) numbers.insert(number);
  }
  return numbers;
}

std::string stem_of(const VideoSampler::Request& request, size_t i) {
  const std::string& name = request.prompts[i].name;
  return name.empty() ? numbered(i, "") : name;
}

/// The entries of samples.json whose videos are there. UserError if one is asked for with another
/// prompt or seed: the folder would mix two sets of videos.
nlohmann::ordered_json finished_before(const VideoSampler::Request& request,
                                       const fs::path& folder) {
  auto kept = nlohmann::ordered_json::array();
  if (!fs::is_regular_file(folder / kList)) return kept;
  const auto list =
      nlohmann::ordered_json::parse(io::read_text_file(folder / kList), nullptr, false);
  std::map<std::string, const VideoPrompt*> wanted;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    wanted[stem_of(request, i) + data::default_video_extension()] = &request.prompts[i];
  }
  for (const auto& entry : list) {
    const std::string file = entry.is_object() ? entry.value("file", "") : "";
    if (file.empty() || !fs::is_regular_file(folder / file)) continue;
    const auto found = wanted.find(file);
    if (found != wanted.end() && (entry.value("prompt", "") != found->second->text ||
                                  entry.value("seed", uint64_t{0}) != found->second->seed)) {
      fail_user("{}: {} was sampled with another seed or text; choose another folder, or remove {}",
                folder.string(),
                file,
                kList);
    }
    kept.push_back(entry);
  }
  return kept;
}

/// `request` without the videos that `kept` names.
VideoSampler::Request unfinished(const VideoSampler::Request& request,
                                 const nlohmann::ordered_json& kept) {
  std::set<std::string> done;
  for (const auto& entry : kept) done.insert(entry["file"].get<std::string>());
  VideoSampler::Request left = request;
  left.prompts.clear();
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    if (done.contains(stem_of(request, i) + data::default_video_extension())) continue;
    left.prompts.push_back(request.prompts[i]);
  }
  return left;
}

/// An earlier call's videos must not stand beside a list that says nothing of them, nor its list
/// beside other videos. Files that no list names are left alone: they may be anybody's.
void make_room(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) fail_user("{}: cannot make the folder: {}", folder.string(), problem.message());
  remove_unfinished_samples(folder);
  const std::set<std::string> numbers = listed_numbers(folder);
  fs::remove(folder / kList, problem);
  int64_t removed = 0;
  std::string other;
  for (const std::string& name : names_in(folder)) {
    const std::string number = number_of(name);
    if (number.empty()) continue;
    if (numbers.contains(number)) {
      removed += fs::remove(folder / name, problem) ? 1 : 0;
    } else if (other.empty() || name < other) {
      other = name;
    }
  }
  if (removed > 0)
    log::info("{}: {} files of an earlier call are removed", folder.string(), removed);
  if (!other.empty()) {
    log::warn("{}: holds {}, which no samples.json names; it is replaced, or stays as it is",
              folder.string(),
              other);
  }
}

}  // namespace

void remove_unfinished_samples(const fs::path& folder) {
  constexpr std::string_view kUnfinished = ".unfinished.";
  for (const std::string& name : names_in(folder)) {
    std::error_code ignored;
    const std::string extension = fs::path(name).extension().string();
    if (name.starts_with(kUnfinished) &&
        (extension == data::default_video_extension() || extension == ".safetensors")) {
      fs::remove(folder / name, ignored);
    }
  }
}

std::vector<SampleRecord> sample_to_folder(const VideoSampler& sampler,
                                           const model::Network& network,
                                           const VideoSampler::Request& asked,
                                           int64_t pixel_frames,
                                           const fs::path& folder,
                                           bool save_latents,
                                           const std::function<void()>& between_chunks) {
  auto kept = nlohmann::ordered_json::array();
  if (asked.keeps_finished) {
    remove_unfinished_samples(folder);
    kept = finished_before(asked, folder);
    fs::create_directories(folder);
  } else {
    make_room(folder);
  }
  const VideoSampler::Request request = unfinished(asked, kept);
  if (!kept.empty()) {
    log::info("{}: {} videos are there, {} are to be made",
              folder.string(),
              kept.size(),
              request.prompts.size());
  }
  if (request.prompts.empty()) return {};
  // Frames go to a child process that encodes them. One child serves videos that are written one
  // after another; a batch writes several at a time, and each starts its own.
  const auto process = request.batch == 1 ? data::start_video_process() : nullptr;
  std::vector<SampleRecord> records(request.prompts.size());
  std::vector<std::unique_ptr<data::VideoWriter>> writers(request.prompts.size());
  std::vector<std::unique_ptr<LatentWriter>> latents(request.prompts.size());
  const auto begin = [&](size_t i) {
    const VideoPrompt& prompt = request.prompts[i];
    SampleRecord& record = records[i];
    record.file = stem_of(request, i) + data::default_video_extension();
    record.original = prompt.original;
    record.prompt = prompt.text;
    record.seed = prompt.seed;
    record.fps = sampler.media().fps;
    for (const LaterPrompt& later : prompt.later) {
      record.later_prompts.push_back({later.text, sampler.codec().pixel_frames(later.first_frame)});
    }
    writers[i] = std::make_unique<data::VideoWriter>(folder / record.file, record.fps, process);
    if (save_latents) {
      latents[i] = std::make_unique<LatentWriter>(folder / (stem_of(request, i) + ".safetensors"),
                                                  request.latent_frames);
    }
  };
  std::vector<SampleRecord> finished;  // for the list, if not all of them come to be
  const auto finish = [&](size_t i) {
    writers[i]->close();
    writers[i].reset();
    if (latents[i]) latents[i]->close();
    latents[i].reset();
    finished.push_back(records[i]);
    if (request.keeps_finished) write_records(finished, folder, kept);
  };
  const auto take = [&](const SampledChunk& chunk) {
    const size_t i = chunk.prompt;
    SampleRecord& record = records[i];
    if (!writers[i]) {
      begin(i);
      record.first_chunk_seconds = chunk.since_start;
    }
    // Whole chunks are sampled; frames beyond pixel_frames are cut off the video, not off the
    // latents.
    const int64_t shown = std::min(chunk.pixels_F3HW.size(0), pixel_frames - record.frames);
    if (shown > 0) writers[i]->append(chunk.pixels_F3HW.narrow(0, 0, shown));
    record.frames += std::max<int64_t>(shown, 0);
    record.chunk_seconds.push_back(chunk.seconds);
    record.cache_seconds += chunk.cache_seconds;
    record.seconds = chunk.since_start;
    record.cache_bytes = chunk.cache_bytes;
    if (latents[i]) latents[i]->append(chunk.latents_FCHW);
    if (chunk.first_frame + chunk.latents_FCHW.size(0) == request.latent_frames) finish(i);
    if (between_chunks) between_chunks();
  };
  try {
    sampler.sample(network, request, take);
  } catch (...) {
    if (!finished.empty()) write_records(finished, folder, kept);
    throw;
  }
  write_records(records, folder, kept);
  return records;
}

}  // namespace vmla::trainer
