#pragma once

#include <filesystem>

#include "model/codec/latent_statistics.h"
#include "model/codec/wan_vae/vae_weights.h"

namespace vmla::model {

/// The weights of a VAE of Wan 2.1 under their original names, mapped from their file.
struct LoadedVae {
  VaeSizes sizes;
  LatentStatistics statistics;
  TensorMap tensors;
};

/// A VAE of these sizes, of Wan 2.1 unless they are given, without values: on the meta device, in
/// fp32.
LoadedVae sizes_only_vae(const VaeSizes& sizes = {});

/// Reads a VAE of Wan 2.1 of any widths (LightVAE's are a quarter) from a file or folder
/// (read_tensors), under the original names or those of diffusers' AutoencoderKLWan. The latents'
/// statistics are those of the config.json beside the tensors if that describes a VAE, else the
/// built-in ones. UserError says what does not fit.
LoadedVae load_vae(const std::filesystem::path& path);

}  // namespace vmla::model
