#include "trainer/evaluation/video_files.h"

#include <algorithm>
#include <utility>

namespace vmla::trainer {

VideoFiles::VideoFiles(const VideoSampler& sampler,
                       const VideoSampler::Request& request,
                       int64_t pixel_frames,
                       std::filesystem::path folder,
                       bool save_latents,
                       Encoders encoders)
    : sampler_(sampler),
      request_(request),
      pixel_frames_(pixel_frames),
      folder_(std::move(folder)),
      save_latents_(save_latents),
      encoders_(std::move(encoders)),
      records_(request.prompts.size()),
      writers_(request.prompts.size()),
      latents_(request.prompts.size()) {}

bool VideoFiles::take(const SampledChunk& chunk) {
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
  record.batch_size = chunk.batch_size;
  if (latents_[i]) latents_[i]->append(chunk.latents_FCHW);
  const bool is_last = chunk.first_frame + chunk.latents_FCHW.size(0) == request_.latent_frames;
  if (is_last) finish(i);
  return is_last;
}

void VideoFiles::begin(size_t i) {
  const VideoPrompt& prompt = request_.prompts[i];
  SampleRecord& record = records_[i];
  record.file = sample_stem(request_, i) + data::default_video_extension();
  record.original = prompt.original;
  record.prompt = prompt.text;
  record.seed = prompt.seed;
  record.fps = sampler_.media().fps;
  for (const LaterPrompt& later : prompt.later) {
    record.later_prompts.push_back(
        {later.text, sampler_.geometry().pixel_frames(later.first_frame)});
  }
  writers_[i] =
      std::make_unique<data::VideoWriter>(folder_ / record.file, record.fps, encoders_.at(i));
  if (!save_latents_) return;
  latents_[i] = std::make_unique<LatentWriter>(
      folder_ / (sample_stem(request_, i) + ".safetensors"), request_.latent_frames);
}

void VideoFiles::finish(size_t i) {
  writers_[i]->close();
  writers_[i].reset();
  if (latents_[i]) latents_[i]->close();
  latents_[i].reset();
}

}  // namespace vmla::trainer
