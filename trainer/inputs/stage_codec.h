#pragma once

#include "model/codec/video_codec.h"
#include "trainer/config/train_config.h"
#include "trainer/inputs/media_info.h"

#include <memory>

namespace vmla::trainer {

/// How the stage's codec computes, and where its weights are, if it has any: data.codec_weights.
model::CodecOptions codec_options(const TrainConfig& config);

/// The codec that a stage with clips of `clip` in latents of `codec` holds: that name, or an empty
/// one where it has weights that data.codec_weights does not name, and nothing in the stage turns
/// latents into pixels.
std::string held_codec(const TrainConfig& config, const std::string& codec, const ClipShape& clip);

/// A codec of the meta device, of what a plan can know: of the sizes that data.codec_weights has,
/// else of Wan 2.1's. `name`: held_codec()'s, null where that is empty.
std::shared_ptr<const model::VideoCodec> sizes_only_codec(const TrainConfig& config,
                                                          const std::string& name);

/// The codec of the stage's latents. Null where it has weights that data.codec_weights does not
/// name, and nothing in the stage turns latents into pixels. UserError, with the key, where
/// something does, or where the weights are not those that the clips were encoded with.
std::shared_ptr<const model::VideoCodec> stage_codec(const TrainConfig& config,
                                                     const MediaInfo& media);

}  // namespace vmla::trainer
