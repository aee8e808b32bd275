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

/// A VAE without values, on the meta device, in fp32: of the sizes in the headers of `path`, or of
/// Wan 2.1's where that is empty. UserError as load_vae(), as far as headers show it.
LoadedVae sizes_only_vae(const std::filesystem::path& path);

/// Reads a VAE of Wan 2.1 of any widths (LightVAE's are a quarter) from a file or folder
/// (read_tensors), under the original names or those of diffusers' AutoencoderKLWan. The latents'
/// statistics are those of the config.json beside the tensors if that describes a VAE, else the
/// built-in ones. UserError says what does not fit.
LoadedVae load_vae(const std::filesystem::path& path);

}  // namespace vmla::model
