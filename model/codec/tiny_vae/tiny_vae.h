#pragma once

#include <memory>
#include <string>

#include "model/codec/video_codec.h"

namespace vmla::model {

/// A small, fast decoder of the latents of wan-vae (docs/algorithms.md 17.6): `name` is taew2_1, or
/// lighttaew2_1, which was trained on latents that are not normalised. It does not encode.
/// UserError where the weights are none of such a decoder. `options.device` must have been made
/// usable.
std::unique_ptr<VideoCodec> make_tiny_vae(const std::string& name, const CodecOptions& options);

}  // namespace vmla::model
