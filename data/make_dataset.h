#pragma once

#include <filesystem>

#include "data/data_config.h"
#include "data/store/latent_file_format.h"
#include "model/codec/codec_options.h"
#include "model/codec/text_encoder_options.h"

namespace vmla::data {

/// How codec and text encoder compute, and where their weights are, if they have any.
struct EncoderOptions {
  model::CodecOptions codec;
  model::TextEncoderOptions text;
};

/// Makes the dataset `path` as `config` says if it is not there: renders the videos (synth_count >
/// 0) and encodes them, or embeds the prompts. Of several processes that ask at once, one does the
/// work and the others wait for it. UserError if the dataset that is there was made with other
/// settings, or if it is missing and `config` says nothing to make it from.
void make_dataset(const MakeConfig& config,
                  const std::filesystem::path& path,
                  const EncoderOptions& encoders = {});

/// UserError if clips that `config` renders show another scene than the dataset at `path` says. It
/// is asked of every dataset that a stage opens: nothing else would show that it is of another
/// kind.
void check_scene(const MakeConfig& config,
                 const LatentInfo& info,
                 const std::filesystem::path& path);

}  // namespace vmla::data
