#include "trainer/evaluation/sample_list.h"

#include "data/video/video_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>

namespace vmla::trainer {
namespace fs = std::filesystem;
namespace {

constexpr const char* kList = "samples.json";
constexpr auto kReplace = nlohmann::json::error_handler_t::replace;  // of text that is no UTF-8

/// As it stands in the list.
std::string indented(const nlohmann::ordered_json& entry) {
  std::string text = "  ";
  for (const char c : entry.dump(2, ' ', false, kReplace))
    text += c == '\n' ? "\n  " : std::string(1, c);
  return text;
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
  const auto list = io::parse_json_or_discard<nlohmann::json>(io::read_text_file(folder / kList));
  if (!list.is_array()) return numbers;
  for (const auto& entry : list) {
    if (!entry.is_object() || !entry.contains("file") || !entry["file"].is_string()) continue;
    const std::string number = number_of(entry["file"].get<std::string>());
    if (!number.empty()) numbers.insert(number);
  }
  return numbers;
}

/// UserError if a video, `entry` of samples.json, was made by other weights, another sampler or
/// another window than `request` asks for: which of them differ, and how.
void check_maker(const nlohmann::json& entry,
                 const VideoSampler::Request& request,
                 const fs::path& folder) {
  const auto stated = entry.contains("made_by") ? entry["made_by"] : nlohmann::json::object();
  for (const auto& [name, value] : request.made_by) {
    const bool has = stated.is_object() && stated.contains(name) && stated[name].is_string();
    const std::string before = has ? stated[name].get<std::string>() : "not stated";
    if (before == value) continue;
    fail_user("{}: {} was sampled with another {}: {}, now {}; choose another folder, or remove {}",
              folder.string(),
              io::quoted_name(entry["file"].get<std::string>()),
              name,
              has ? io::quoted_name(before) : before,
              io::quoted_name(value),
              kList);
  }
}

}  // namespace

// The order of names is the order of prompts, up to a thousand of them.
std::string sample_stem(const VideoSampler::Request& request, size_t i) {
  const std::string& name = request.prompts[i].name;
  return name.empty() ? formatted("{:03}", i) : name;
}

std::string sample_entry(const SampleRecord& record, const VideoSampler::Request& request) {
  const SampleRecord& r = record;
  nlohmann::ordered_json entry = {{"file", r.file},
                                  {"prompt", r.prompt},
                                  {"seed", r.seed},
                                  {"frames", r.frames},
                                  {"fps", r.fps},
                                  {"seconds_per_chunk", r.chunk_seconds},
                                  {"cache_seconds", r.cache_seconds},
                                  {"time_to_first_chunk", r.first_chunk_seconds},
                                  {"frames_per_second", static_cast<double>(r.frames) / r.seconds},
                                  {"cache_bytes", r.cache_bytes},
                                  {"batch_size", r.batch_size}};
  for (const auto& [name, value] : request.made_by) entry["made_by"][name] = value;
  if (!r.original.empty()) entry["prompt_en"] = r.original;
  for (const SampleRecord::Part& part : r.later_prompts) {
    entry["later_prompts"].push_back({{"prompt", part.prompt}, {"first_frame", part.first_frame}});
  }
  return indented(entry);
}

std::string file_of_entry(const std::string& entry) {
  return io::parse_json<nlohmann::json>(entry, kList).at("file").get<std::string>();
}

std::string line_of_entry(const std::string& entry) {
  const auto e = io::parse_json<nlohmann::json>(entry, kList);
  const auto batch = e.at("batch_size").get<int64_t>();
  return formatted(
      "{}: {} frames, {:g} frames/s{}, first chunk after {:g} s, cache {} bytes  \"{}\"",
      e.at("file").get<std::string>(),
      e.at("frames").get<int64_t>(),
      e.at("frames_per_second").get<double>(),
      batch > 1 ? formatted(" as one of {}", batch) : "",
      e.at("time_to_first_chunk").get<double>(),
      e.at("cache_bytes").get<int64_t>(),
      e.at("prompt").get<std::string>());
}

void write_sample_list(const std::vector<std::string>& entries, const fs::path& folder) {
  std::string list = "[";
  for (const std::string& entry : entries) list += (list == "[" ? "\n" : ",\n") + entry;
  io::write_file_atomically(folder / kList, list + "\n]\n");
}

std::vector<std::string> samples_before(const VideoSampler::Request& request,
                                        int64_t pixel_frames,
                                        const fs::path& folder) {
  std::vector<std::string> kept;
  std::error_code problem;
  if (!fs::is_regular_file(folder / kList, problem)) return kept;
  const auto list = io::parse_json_or_discard<nlohmann::json>(io::read_text_file(folder / kList));
  std::map<std::string, const VideoPrompt*> wanted;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    wanted[sample_stem(request, i) + data::default_video_extension()] = &request.prompts[i];
  }
  if (!list.is_array()) {
    fail_user("{}: is no list of videos; remove it, or choose another folder",
              (folder / kList).string());
  }
  for (const auto& entry : list) {
    const auto has = [&](const char* key, const nlohmann::json& value) {
      return entry.contains(key) && entry[key] == value;
    };
    if (!entry.is_object() || !entry.contains("file") || !entry["file"].is_string()) continue;
    const std::string file = entry["file"].get<std::string>();
    if (!fs::is_regular_file(folder / file, problem)) continue;
    const auto found = wanted.find(file);
    if (found != wanted.end() &&
        !(has("prompt", found->second->text) && has("seed", found->second->seed) &&
          has("frames", pixel_frames))) {
      fail_user(
          "{}: {} was sampled with another seed, text or length; choose another folder, or "
          "remove {}",
          folder.string(),
          io::quoted_name(file),
          kList);
    }
    check_maker(entry, request, folder);
    kept.push_back(indented(nlohmann::ordered_json(entry)));
  }
  return kept;
}

VideoSampler::Request without_samples(const VideoSampler::Request& request,
                                      const std::vector<std::string>& kept) {
  std::set<std::string> done;
  for (const std::string& entry : kept) done.insert(file_of_entry(entry));
  VideoSampler::Request left = request;
  left.prompts.clear();
  std::vector<int64_t> places;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    if (done.contains(sample_stem(request, i) + data::default_video_extension())) continue;
    left.prompts.push_back(request.prompts[i]);
    left.prompts.back().name = sample_stem(request, i);
    places.push_back(static_cast<int64_t>(i));
  }
  const at::Tensor rows = at::tensor(places, at::kLong);
  if (request.noise_PFCHW.defined()) left.noise_PFCHW = request.noise_PFCHW.index_select(0, rows);
  if (request.renoise_KPFCHW.defined())
    left.renoise_KPFCHW = request.renoise_KPFCHW.index_select(1, rows);
  return left;
}

void make_sample_folder(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) fail_user("{}: cannot make the folder: {}", folder.string(), problem.message());
  io::remove_stale_temporaries(folder);
}

void make_room_for_samples(const fs::path& folder) {
  make_sample_folder(folder);
  const std::set<std::string> numbers = listed_numbers(folder);
  std::error_code problem;
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

}  // namespace vmla::trainer
