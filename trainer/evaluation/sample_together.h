#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "trainer/distributed/collectives/mesh.h"
#include "trainer/evaluation/video_sampler.h"

/// The ranks of a job divide the videos of one request among them, as many together on each as
/// request.batch says, or fewer, so that each rank has some (trainer/evaluation/rank_rounds.h). All
/// ask for the same; prompts over time are for one process alone. Collective.
namespace vmla::trainer {

/// Where videos go, and how much of them.
struct SampleFolder {
  std::filesystem::path path;
  int64_t pixel_frames;  // to which a video is trimmed
  bool save_latents = false;
};

/// Samples into a folder: 000.mp4, 001.mp4, ... in the order of the prompts (.y4m in a build
/// without OpenCV), and samples.json; with `save_latents` also 000.safetensors, ... (`latents`
/// [F, C, H, W], not trimmed). Chunks are streamed to the files as they come; of what has been
/// written nothing is kept but a number for each chunk, for samples.json. Each rank writes its own
/// videos; the lead writes samples.json, again after each video, or with several ranks when each
/// has finished a batch.
///
/// The videos that the folder's samples.json names are removed first, or kept and not made again
/// (Request::keeps_finished: UserError if they are of another prompt or seed). Where the sampling
/// throws (Request::before_pass), samples.json names the videos that are finished (of several ranks
/// those of the batches before), and nothing unfinished is left.
///
/// Returns the entries of the videos that were made, in the order of the prompts, on every rank
/// (trainer/evaluation/sample_list.h).
std::vector<std::string> sample_to_folder(const distributed::Mesh& mesh,
                                          const VideoSampler& sampler,
                                          const model::Network& network,
                                          const VideoSampler::Request& request,
                                          const SampleFolder& out);

/// A whole video, on the CPU in fp32.
struct SampledVideo {
  at::Tensor latents_FCHW;
  at::Tensor pixels_F3HW;
};

/// The videos of all prompts for the lead, in the order of the prompts; none on other ranks, which
/// each of them passes through all the same, one at a time. `progress` is told, on every rank, how
/// many more latent frames are sampled by all of them.
std::vector<SampledVideo> sample_videos_together(
    const distributed::Mesh& mesh,
    const VideoSampler& sampler,
    const model::Network& network,
    const VideoSampler::Request& request,
    const std::function<void(int64_t latent_frames)>& progress = {});

}  // namespace vmla::trainer
