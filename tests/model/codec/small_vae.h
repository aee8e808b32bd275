#pragma once

#include <filesystem>

#include "model/codec/wan_vae/vae_weights.h"

/// A VAE of Wan's structure with random weights, small enough for a test.
namespace vmla::model {

/// Widths that differ wherever they may.
VaeSizes small_vae_sizes();

/// Random tensors under the original names, of a size that keeps activations about 1.
TensorMap small_vae_tensors(const VaeSizes& sizes);

/// Writes them into `folder`, and returns the file.
std::filesystem::path write_small_vae(const std::filesystem::path& folder);

}  // namespace vmla::model
