#include "tests/model/codec/small_vae.h"

#include <ATen/ATen.h>

#include <cmath>

namespace vmla::model {

VaeSizes small_vae_sizes() {
  return {.latent = 16,
          .encoder_in = 4,
          .decoder_in = 10,
          .encoder = {4, 6, 8, 10},
          .decoder = {8, 12, 6, 4},
          .decoder_up = {6, 6, 4}};
}

TensorMap small_vae_tensors(const VaeSizes& sizes) {
  at::manual_seed(3);
  TensorMap tensors;
  for (const CodecTensor& tensor : vae_tensors(sizes)) {
    at::Tensor values = at::randn(tensor.shape);
    if (tensor.name.ends_with(".gamma")) {
      values.mul_(0.1).add_(1);
    } else if (tensor.name.ends_with(".bias")) {
      values.mul_(0.1);
    } else {
      values.div_(std::sqrt(static_cast<double>(values[0].numel())));
    }
    tensors.emplace(tensor.name, values);
  }
  return tensors;
}

std::filesystem::path write_small_vae(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "small_vae.safetensors";
  write_safetensors(file, small_vae_tensors(small_vae_sizes()));
  return file;
}

}  // namespace vmla::model
