#pragma once

#include <filesystem>
#include <vector>

#include "trainer/evaluation/sample_list.h"
#include "trainer/evaluation/video_sampler.h"

namespace vmla::trainer {

/// Samples into `folder`: 000.mp4, 001.mp4, ... in the order of the prompts, trimmed to
/// `pixel_frames` video frames (.y4m in a build without OpenCV), and samples.json; with
/// `save_latents` also 000.safetensors, ... (`latents` [F, C, H, W], not trimmed). Chunks are
/// streamed to the files as they come; of what has been written nothing is kept but a number for
/// each chunk, for samples.json. The videos that the folder's samples.json names are removed first,
/// or kept and not made again (Request::keeps_finished: UserError if they are of another prompt or
/// seed). The records are those of the videos that were made.
/// Where the sampling throws (Request::before_pass), samples.json names the videos that are
/// finished, and nothing unfinished is left.
std::vector<SampleRecord> sample_to_folder(const VideoSampler& sampler,
                                           const model::Network& network,
                                           const VideoSampler::Request& request,
                                           int64_t pixel_frames,
                                           const std::filesystem::path& folder,
                                           bool save_latents);

}  // namespace vmla::trainer
