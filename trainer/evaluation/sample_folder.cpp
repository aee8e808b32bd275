#include "trainer/evaluation/sample_folder.h"

#include "model/io/log.h"
#include "trainer/evaluation/video_files.h"

#include <utility>

namespace vmla::trainer {

std::vector<SampleRecord> sample_to_folder(const VideoSampler& sampler,
                                           const model::Network& network,
                                           const VideoSampler::Request& asked,
                                           int64_t pixel_frames,
                                           const std::filesystem::path& folder,
                                           bool save_latents,
                                           const std::function<void()>& between_chunks) {
  std::vector<std::string> kept;
  if (asked.keeps_finished) {
    make_sample_folder(folder);
    kept = samples_before(asked, pixel_frames, folder);
  } else {
    make_room_for_samples(folder);
  }
  const VideoSampler::Request request = without_samples(asked, kept);
  if (!kept.empty()) {
    log::info("{}: {} videos are there, {} are to be made",
              folder.string(),
              kept.size(),
              request.prompts.size());
  }
  if (request.prompts.empty()) return {};
  const auto list = [&](const std::vector<SampleRecord>& records) {
    std::vector<std::string> entries = kept;
    for (const SampleRecord& record : records) entries.push_back(sample_entry(record, request));
    write_sample_list(entries, folder);
  };
  // A batch writes several videos at a time.
  VideoFiles files(sampler,
                   request,
                   pixel_frames,
                   folder,
                   save_latents,
                   request.batch == 1 ? data::start_video_process() : nullptr);
  try {
    sampler.sample(network, request, [&](const SampledChunk& chunk) {
      if (files.take(chunk) && request.keeps_finished) list(files.finished());
      if (between_chunks) between_chunks();
    });
  } catch (...) {
    if (!files.finished().empty()) list(files.finished());
    throw;
  }
  list(files.records());
  return std::move(files.records());
}

}  // namespace vmla::trainer
