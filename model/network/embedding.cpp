#include "model/network/embedding.h"

#include "kernels/gelu/gelu.h"
#include "model/network/projection.h"

#include <ATen/ATen.h>

namespace vmla::model {
namespace {

constexpr size_t kMostKeptBytes = size_t{64} << 20;
// Of three frames of Wan 1.3B under guidance there are 6.6 MiB for each timestep.
constexpr size_t kMostBytesOfOne = kMostKeptBytes / 8;

}  // namespace

at::Tensor patchify(const at::Tensor& latents_BFCHW, const ModelConfig& config) {
  const int64_t p = config.patch_size[1], q = config.patch_size[2];
  const at::Tensor patches =
      latents_BFCHW.unflatten(4, {-1, q}).unflatten(3, {-1, p});  // B F C h p w q
  return patches.permute({0, 1, 3, 5, 2, 4, 6}).flatten(4, 6).flatten(2, 3);
}

at::Tensor unpatchify(const at::Tensor& tokens, const ModelConfig& config, TokenGrid grid) {
  const int64_t p = config.patch_size[1], q = config.patch_size[2];
  const at::Tensor patches =
      tokens.unflatten(3, {p, q, config.out_dim}).unflatten(2, {grid.rows, grid.cols});
  return patches.permute({0, 1, 6, 2, 4, 3, 5}).flatten(5, 6).flatten(3, 4);
}

at::Tensor embed_text(const at::Tensor& text_BTE, const RootWeights& w, const ModelConfig& config) {
  const at::Tensor padded =
      at::constant_pad_nd(text_BTE, {0, 0, 0, config.text_len - text_BTE.size(1)});
  const at::Tensor hidden = kernels::gelu_tanh(project(padded, w.text_in_weight, w.text_in_bias));
  return project(hidden, w.text_out_weight, w.text_out_bias);
}

at::Tensor timestep_sinusoid(const at::Tensor& timesteps, int64_t freq_dim, at::ScalarType dtype) {
  const int64_t half = freq_dim / 2;
  const auto fp64 = timesteps.options().dtype(at::kDouble);
  const at::Tensor frequency =
      at::pow(10000.0, at::arange(half, fp64) / static_cast<double>(-half));
  const at::Tensor angle = timesteps.to(at::kDouble).unsqueeze(1) * frequency.unsqueeze(0);
  return at::cat({angle.cos(), angle.sin()}, 1).to(dtype);
}

TimeEmbedding embed_time(const at::Tensor& timesteps_BF,
                         const RootWeights& w,
                         const ModelConfig& config) {
  const auto dtype = w.time_in_weight.scalar_type();
  const at::Tensor sinusoid = timestep_sinusoid(timesteps_BF.flatten(), config.freq_dim, dtype);
  const at::Tensor hidden = at::silu(project(sinusoid, w.time_in_weight, w.time_in_bias));
  const at::Tensor time_BFD = project(hidden, w.time_out_weight, w.time_out_bias)
                                  .view({timesteps_BF.size(0), timesteps_BF.size(1), config.dim});
  const at::Tensor projected = project(at::silu(time_BFD), w.time_proj_weight, w.time_proj_bias);
  return {time_BFD, projected.unflatten(2, {6, config.dim})};
}

KeptTime* KeptTimes::find(const at::Tensor& timesteps_BF) {
  if (!timesteps_BF.is_cpu()) return nullptr;
  for (KeptTime& kept : kept_) {
    if (at::equal(kept.timesteps_BF, timesteps_BF)) return &kept;
  }
  return nullptr;
}

KeptTime* KeptTimes::keep(const at::Tensor& timesteps_BF,
                          const TimeEmbedding& embedding,
                          int64_t num_layers) {
  const auto layers = static_cast<size_t>(num_layers);
  const size_t bytes =
      embedding.time_BFD.nbytes() + (1 + layers) * embedding.modulation_BF6D.nbytes();
  if (!timesteps_BF.is_cpu() || bytes > kMostBytesOfOne || bytes_ + bytes > kMostKeptBytes) {
    refused_ = true;
    return nullptr;
  }
  bytes_ += bytes;
  kept_.push_back({timesteps_BF, embedding, std::vector<at::Tensor>(layers)});
  return &kept_.back();
}

}  // namespace vmla::model
