#include "launch/sample_noise.h"

#include "model/formats/safetensors.h"
#include "model/io/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace vmla::launch {
namespace {

/// A tensor of a --noise file in fp32, in the shape `wanted`. It may lack the dimension
/// `prompt_dim`: it is then the same for all prompts.
at::Tensor for_prompts(const at::Tensor& stored,
                       const std::string& place,
                       std::vector<int64_t> wanted,
                       size_t prompt_dim) {
  const int64_t at = static_cast<int64_t>(prompt_dim);
  at::Tensor noise = stored.to(at::kFloat).clone();
  if (noise.dim() + 1 == static_cast<int64_t>(wanted.size()) && noise.dim() >= at) {
    std::vector<int64_t> repeated(wanted.size(), -1);
    repeated[prompt_dim] = wanted[prompt_dim];
    noise = noise.unsqueeze(at).expand(repeated);
  }
  if (noise.sizes() != at::IntArrayRef(wanted)) {
    fail_user("{} is {}, wanted {}", place, stored.sizes(), at::IntArrayRef(wanted));
  }
  return noise;
}

}  // namespace

void read_noise(const std::string& path,
                const trainer::ClipShape& clip,
                trainer::VideoSampler::Request& request) {
  if (path.empty()) return;
  const auto file = model::read_safetensors(path);
  const auto found = file.tensors.find("noise");
  if (found == file.tensors.end()) fail_user("{}: tensor 'noise' is missing", path);
  std::vector<int64_t> wanted = {static_cast<int64_t>(request.prompts.size()),
                                 request.latent_frames,
                                 clip.channels,
                                 clip.height,
                                 clip.width};
  request.noise_PFCHW = for_prompts(found->second, path + ": tensor 'noise'", wanted, 0);
  const auto again = file.tensors.find("renoise");
  if (again == file.tensors.end() || request.sampler.kind != model::SamplerKind::kFewStep) return;
  const size_t times = std::max(request.sampler.denoising_step_list.size(),
                                request.sampler.first_chunk_denoising_step_list.size()) -
                       1;
  if (times == 0) return;
  wanted.insert(wanted.begin(), static_cast<int64_t>(times));
  request.renoise_KPFCHW = for_prompts(again->second, path + ": tensor 'renoise'", wanted, 1);
}

}  // namespace vmla::launch
