#include "trainer/objectives/noising.h"

#include "kernels/counter_rng/counter_rng.h"
#include "kernels/host_transfer.h"

#include <ATen/ATen.h>

namespace vmla::trainer {

kernels::DrawKey draw_key(const std::string& player,
                          const DrawContext& context,
                          kernels::Purpose training,
                          kernels::Purpose validation) {
  return {.seed = context.seed,
          .step = context.validation ? 0 : static_cast<uint64_t>(context.step),
          .purpose = context.validation ? validation : training,
          .role = kernels::hash_role(player),
          .sample = static_cast<uint64_t>(context.first_sample)};
}

at::Tensor loss_weights(const model::LossWeight& weight,
                        const at::Tensor& timesteps_BF,
                        const at::TensorOptions& options) {
  // clone(): to() returns the timesteps themselves where nothing has to be converted.
  at::Tensor weights = timesteps_BF.to(at::kDouble).clone();
  double* values = weights.data_ptr<double>();
  for (int64_t i = 0; i < weights.numel(); ++i) values[i] = weight(values[i]);
  return kernels::upload(weights.to(c10::typeMetaToScalarType(options.dtype())), options.device());
}

Noising::Noising(double timestep_shift, bool quantized_sigma)
    : sigmas_(model::training_sigmas(timestep_shift)), quantized_(quantized_sigma) {}

double Noising::table_timestep(int64_t index) const {
  return model::kTrainTimesteps * sigmas_.at(static_cast<size_t>(index));
}

at::Tensor Noising::sigma(const at::Tensor& timesteps_BF, const at::Tensor& latents) const {
  at::Tensor sigma = timesteps_BF.to(at::kDouble) / model::kTrainTimesteps;
  // A search in the table for each element, on the host: this is for comparisons, not for speed.
  if (quantized_) {
    sigma = sigma.clone();
    double* values = sigma.data_ptr<double>();
    for (int64_t i = 0; i < sigma.numel(); ++i) {
      values[i] = model::quantized_sigma(values[i] * model::kTrainTimesteps, sigmas_);
    }
  }
  return kernels::upload(sigma.to(latents.scalar_type()), latents.device())
      .view({sigma.size(0), sigma.size(1), 1, 1, 1});
}

NoisyLatents Noising::operator()(const at::Tensor& clean_BFCHW,
                                 const at::Tensor& noise,
                                 const at::Tensor& timesteps_BF) const {
  const at::Tensor s = sigma(timesteps_BF, clean_BFCHW);
  return {model::add_noise(clean_BFCHW, noise, s), noise - clean_BFCHW};
}

DrawSpec noise_spec(const ClipShape& clip) {
  return {"noise", {DrawSpec::kBatch, clip.frames, clip.channels, clip.height, clip.width}};
}

DrawSpec timesteps_spec(const ClipShape& clip, const std::string& name) {
  return {name, {DrawSpec::kBatch, clip.frames}, at::kDouble};
}

at::Tensor draw_noise(const std::string& player,
                      const ClipShape& clip,
                      const DrawContext& context) {
  const auto key =
      draw_key(player, context, kernels::Purpose::kNoise, kernels::Purpose::kValidationNoise);
  return kernels::normal_batch(
      key, key.sample, context.batch, {clip.frames, clip.channels, clip.height, clip.width});
}

at::Tensor draw_timesteps(const std::string& player,
                          const std::vector<int64_t>& groups,
                          const Noising& noising,
                          const DrawContext& context) {
  auto key =
      draw_key(player, context, kernels::Purpose::kTimestep, kernels::Purpose::kValidationTimestep);
  std::vector<double> timesteps;
  // A group's draw is number `group` of its sample's address.
  for (int64_t b = 0; b < context.batch; ++b, ++key.sample) {
    for (size_t group = 0; group < groups.size(); ++group) {
      const int64_t index =
          kernels::uniform_index(key, static_cast<int64_t>(model::kTrainTimesteps), group);
      timesteps.insert(
          timesteps.end(), static_cast<size_t>(groups[group]), noising.table_timestep(index));
    }
  }
  return at::tensor(timesteps, at::kDouble).view({context.batch, -1});
}

}  // namespace vmla::trainer
