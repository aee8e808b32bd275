#include "data/video/video_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/log.h"
#include "model/io/quoted_name.h"
#include "trainer/evaluation/latent_writer.h"
#include "trainer/evaluation/video_sampler.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>

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
                   const VideoSampler::Request& request,
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
    for (const auto& [name, value] : request.made_by) entry["made_by"][name] = value;
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
  const auto list = io::parse_json_or_discard<nlohmann::json>(io::read_text_file(folder / kList));
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

/// The entries of samples.json whose videos are there. UserError if one is asked for with another
/// prompt, seed, length or maker: the folder would mix two sets of videos.
nlohmann::ordered_json finished_before(const VideoSampler::Request& request,
                                       int64_t pixel_frames,
                                       const fs::path& folder) {
  auto kept = nlohmann::ordered_json::array();
  std::error_code problem;
  if (!fs::is_regular_file(folder / kList, problem)) return kept;
  const auto list = io::parse_json_or_discard<nlohmann::json>(io::read_text_file(folder / kList));
  std::map<std::string, const VideoPrompt*> wanted;
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    wanted[stem_of(request, i) + data::default_video_extension()] = &request.prompts[i];
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
    kept.push_back(nlohmann::ordered_json(entry));
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

void make_folder(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) fail_user("{}: cannot make the folder: {}", folder.string(), problem.message());
  io::remove_stale_temporaries(folder);
}

/// An earlier call's videos must not stand beside a list that says nothing of them, nor its list
/// beside other videos. Files that no list names are left alone: they may be anybody's.
void make_room(const fs::path& folder) {
  make_folder(folder);
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

/// Whether a video is whole before the next begins.
bool one_after_another(const VideoSampler::Request& request) {
  const bool alone = request.ranks == nullptr || request.ranks->shape().data_ranks() == 1;
  return request.batch == 1 && alone;
}

/// Streams the chunks of a call's videos into their files.
class VideoFiles {
 public:
  VideoFiles(const VideoSampler& sampler,
             const VideoSampler::Request& request,
             int64_t pixel_frames,
             fs::path folder,
             bool save_latents,
             nlohmann::ordered_json kept)
      : sampler_(sampler),
        request_(request),
        pixel_frames_(pixel_frames),
        folder_(std::move(folder)),
        save_latents_(save_latents),
        kept_(std::move(kept)),
        process_(one_after_another(request) ? data::start_video_process() : nullptr),
        records_(request.prompts.size()),
        writers_(request.prompts.size()),
        latents_(request.prompts.size()) {}

  void take(const SampledChunk& chunk) {
    const size_t i = chunk.prompt;
    SampleRecord& record = records_[i];
    if (!writers_[i]) {
      begin(i);
      record.first_chunk_seconds = chunk.since_start;
    }
    // Whole chunks are sampled; frames beyond pixel_frames are cut off the video, not off the
    // latents.
    const int64_t kept = std::min(chunk.pixels_F3HW.size(0), pixel_frames_ - record.frames);
    if (kept > 0) writers_[i]->append(chunk.pixels_F3HW.narrow(0, 0, kept));
    record.frames += std::max<int64_t>(kept, 0);
    record.chunk_seconds.push_back(chunk.seconds);
    record.cache_seconds += chunk.cache_seconds;
    record.seconds = chunk.since_start;
    record.cache_bytes = chunk.cache_bytes;
    if (latents_[i]) latents_[i]->append(chunk.latents_FCHW);
    if (chunk.first_frame + chunk.latents_FCHW.size(0) == request_.latent_frames) finish(i);
  }

  /// Of all videos, in the order of the prompts.
  std::vector<SampleRecord>& records() { return records_; }
  /// The list of those that are whole, where not all of them come to be.
  void list_finished() const {
    if (!finished_.empty()) write_records(finished_, request_, folder_, kept_);
  }
  void list_all() const { write_records(records_, request_, folder_, kept_); }

 private:
  void begin(size_t i) {
    const VideoPrompt& prompt = request_.prompts[i];
    SampleRecord& record = records_[i];
    record.file = stem_of(request_, i) + data::default_video_extension();
    record.original = prompt.original;
    record.prompt = prompt.text;
    record.seed = prompt.seed;
    record.fps = sampler_.media().fps;
    for (const LaterPrompt& later : prompt.later) {
      record.later_prompts.push_back(
          {later.text, sampler_.geometry().pixel_frames(later.first_frame)});
    }
    writers_[i] = std::make_unique<data::VideoWriter>(folder_ / record.file, record.fps, process_);
    if (!save_latents_) return;
    latents_[i] = std::make_unique<LatentWriter>(folder_ / (stem_of(request_, i) + ".safetensors"),
                                                 request_.latent_frames);
  }

  void finish(size_t i) {
    writers_[i]->close();
    writers_[i].reset();
    if (latents_[i]) latents_[i]->close();
    latents_[i].reset();
    finished_.push_back(records_[i]);
    if (request_.keeps_finished) list_finished();
  }

  const VideoSampler& sampler_;
  const VideoSampler::Request& request_;
  int64_t pixel_frames_;
  fs::path folder_;
  bool save_latents_;
  nlohmann::ordered_json kept_;  // entries of the list for videos that were there before
  // Frames go to a child process that encodes them. One child serves videos that are written one
  // after another; a batch, or several ranks, write several at a time, and each starts its own.
  std::shared_ptr<data::ChildProcess> process_;
  std::vector<SampleRecord> records_, finished_;
  std::vector<std::unique_ptr<data::VideoWriter>> writers_;
  std::vector<std::unique_ptr<LatentWriter>> latents_;
};

}  // namespace

std::vector<SampleRecord> sample_to_folder(const VideoSampler& sampler,
                                           const model::Network& network,
                                           const VideoSampler::Request& asked,
                                           int64_t pixel_frames,
                                           const fs::path& folder,
                                           bool save_latents,
                                           const std::function<void()>& between_chunks) {
  auto kept = nlohmann::ordered_json::array();
  if (asked.keeps_finished) {
    make_folder(folder);
    kept = finished_before(asked, pixel_frames, folder);
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
  VideoFiles files(sampler, request, pixel_frames, folder, save_latents, std::move(kept));
  try {
    sampler.sample(network, request, [&](const SampledChunk& chunk) {
      files.take(chunk);
      if (between_chunks) between_chunks();
    });
  } catch (...) {
    files.list_finished();
    throw;
  }
  files.list_all();
  return std::move(files.records());
}

}  // namespace vmla::trainer
