#include "data/video/video_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "trainer/evaluation/latent_writer.h"
#include "trainer/evaluation/video_sampler.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace vmla::trainer {
namespace {

/// "007.mp4": the order of names is the order of prompts, up to a thousand of them.
std::string numbered(size_t index, const char* extension) {
  return formatted("{:03}{}", index, extension);
}

/// Writes samples.json (docs/formats.md); text that is no valid UTF-8 is replaced, not refused.
void write_records(const std::vector<SampleRecord>& records, const std::filesystem::path& folder) {
  nlohmann::ordered_json list = nlohmann::json::array();
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
    for (const SampleRecord::Part& part : r.later_prompts) {
      entry["later_prompts"].push_back(
          {{"prompt", part.prompt}, {"first_frame", part.first_frame}});
    }
    list.push_back(std::move(entry));
  }
  io::write_file_atomically(
      folder / "samples.json",
      list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace

std::vector<SampleRecord> sample_to_folder(const VideoSampler& sampler,
                                           const model::Network& network,
                                           const VideoSampler::Request& request,
                                           int64_t pixel_frames,
                                           const std::filesystem::path& folder,
                                           bool save_latents) {
  std::filesystem::create_directories(folder);
  // Frames go to a child process that encodes them. One child serves videos that are written one
  // after another; a batch writes several at a time, and each starts its own.
  const auto process = request.batch == 1 ? data::start_video_process() : nullptr;
  std::vector<SampleRecord> records(request.prompts.size());
  std::vector<std::unique_ptr<data::VideoWriter>> writers(request.prompts.size());
  std::vector<std::unique_ptr<LatentWriter>> latents(request.prompts.size());
  const auto begin = [&](size_t i) {
    const VideoPrompt& prompt = request.prompts[i];
    SampleRecord& record = records[i];
    record.file = numbered(i, data::default_video_extension());
    record.prompt = prompt.text;
    record.seed = prompt.seed;
    record.fps = sampler.media().fps;
    for (const LaterPrompt& later : prompt.later) {
      record.later_prompts.push_back({later.text, sampler.codec().pixel_frames(later.first_frame)});
    }
    writers[i] = std::make_unique<data::VideoWriter>(folder / record.file, record.fps, process);
    if (save_latents) {
      latents[i] = std::make_unique<LatentWriter>(folder / numbered(i, ".safetensors"),
                                                  request.latent_frames);
    }
  };
  const auto finish = [&](size_t i) {
    writers[i]->close();
    writers[i].reset();
    if (latents[i]) latents[i]->close();
    latents[i].reset();
  };
  sampler.sample(network, request, [&](const SampledChunk& chunk) {
    const size_t i = chunk.prompt;
    SampleRecord& record = records[i];
    if (!writers[i]) {
      begin(i);
      record.first_chunk_seconds = chunk.since_start;
    }
    // Whole chunks are sampled; frames beyond pixel_frames are cut off the video, not off the
    // latents.
    const int64_t kept = std::min(chunk.pixels_F3HW.size(0), pixel_frames - record.frames);
    if (kept > 0) writers[i]->append(chunk.pixels_F3HW.narrow(0, 0, kept));
    record.frames += std::max<int64_t>(kept, 0);
    record.chunk_seconds.push_back(chunk.seconds);
    record.cache_seconds += chunk.cache_seconds;
    record.seconds = chunk.since_start;
    record.cache_bytes = chunk.cache_bytes;
    if (latents[i]) latents[i]->append(chunk.latents_FCHW);
    if (chunk.first_frame + chunk.latents_FCHW.size(0) == request.latent_frames) finish(i);
  });
  write_records(records, folder);
  return records;
}

}  // namespace vmla::trainer
