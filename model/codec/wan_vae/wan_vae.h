#pragma once

#include <memory>

#include "model/codec/video_codec.h"

namespace vmla::model {

/// Wan 2.1's video VAE (docs/algorithms.md 17), named wan-vae: one latent frame of 16 channels for
/// the first pixel frame and one for every four behind it, an eighth of their height and width.
/// Encoding returns the mean, decoded pixels are clamped to [-1, 1]. UserError where the weights
/// are none of such a VAE. `options.device` must have been made usable.
std::unique_ptr<VideoCodec> make_wan_vae(const CodecOptions& options);

}  // namespace vmla::model
