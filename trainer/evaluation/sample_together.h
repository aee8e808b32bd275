#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "trainer/distributed/collectives/mesh.h"
#include "trainer/evaluation/video_sampler.h"

/// The ranks of a job divide the videos of one request among them
/// (trainer/evaluation/rank_rounds.h). All ask for the same; prompts over time and noise that is
/// given are for one process alone. Collective.
namespace vmla::trainer {

/// As sample_to_folder, one video after another on each rank, which writes its own files; the lead
/// writes samples.json, again after each round. Returns the files of the videos, in the order of
/// the prompts, on every rank.
std::vector<std::filesystem::path> sample_to_folder_together(const distributed::Mesh& mesh,
                                                             const VideoSampler& sampler,
                                                             const model::Network& network,
                                                             const VideoSampler::Request& request,
                                                             int64_t pixel_frames,
                                                             const std::filesystem::path& folder);

/// A whole video, on the CPU in fp32.
struct SampledVideo {
  at::Tensor latents_FCHW;
  at::Tensor pixels_F3HW;
};

/// The videos of all prompts for the lead, in the order of the prompts; none on other ranks, which
/// each of them passes through all the same, one at a time. As
/// many together as request.batch says, or fewer, so that each rank has some. `progress` is told,
/// on every rank, how many more latent frames are sampled by all of them.
std::vector<SampledVideo> sample_videos_together(
    const distributed::Mesh& mesh,
    const VideoSampler& sampler,
    const model::Network& network,
    const VideoSampler::Request& request,
    const std::function<void(int64_t latent_frames)>& progress = {});

}  // namespace vmla::trainer
