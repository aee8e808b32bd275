#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "launch/shared_options.h"
#include "model/codec/video_codec.h"

namespace vmla::launch {

/// The codec that the options name, on their device, to encode or to decode. UserError where
/// weights or device do not fit.
std::unique_ptr<model::VideoCodec> open_codec(const CodecArgs& args, bool encodes);

/// The tensor `name` of a safetensors file, F32 with five dimensions, of which number `axis` is
/// `channels`, finite, and not empty. UserError otherwise.
at::Tensor read_videos(const std::string& path, const char* name, int64_t axis, int64_t channels);

}  // namespace vmla::launch
