#pragma once

#include <string>

#include "trainer/evaluation/video_sampler.h"

namespace vmla::launch {

/// Reads a --noise file into `request`: `noise` [prompts, F, C, H, W] and, if the few-step sampler
/// is not to draw what it adds between its steps, `renoise` [times, prompts, F, C, H, W]. Without
/// the dimension `prompts`, all prompts have the same.
/// UserError where a tensor is missing or has another shape.
void read_noise(const std::string& path,
                const trainer::ClipShape& clip,
                trainer::VideoSampler::Request& request);

}  // namespace vmla::launch
