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
                                           bool save_latents) {
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
  VideoFiles files(sampler, request, pixel_frames, folder, save_latents);
  sampler.sample(network, request, [&](const SampledChunk& chunk) {
    if (files.take(chunk)) list(files.finished());
  });
  list(files.records());  // in the order of the prompts
  return std::move(files.records());
}

}  // namespace vmla::trainer
