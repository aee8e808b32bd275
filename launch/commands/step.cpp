#include "launch/commands/step.h"

#include "launch/step_inputs.h"
#include "model/codec/video_codec.h"
#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "trainer/compute_device.h"
#include "trainer/config/config_yaml.h"
#include "trainer/inputs/stage_codec.h"
#include "trainer/objectives/objective.h"
#include "trainer/roles/optimizer.h"
#include "trainer/roles/role_set.h"

#include <ATen/ATen.h>

namespace vmla::launch {

int run(const StepArgs& args) {
  const trainer::TrainConfig config =
      trainer::load_config(args.config, args.set, trainer::Purpose::kStep);
  trainer::prepare_device(config.train.device);
  trainer::use_kernels(config);
  trainer::check_kernels_on(config.train.device);
  trainer::use_attention(config.kernels, at::Device(config.train.device));
  const auto objective = trainer::make_objective(config.objective, config.model);
  trainer::RoleSet roles = trainer::build_roles(
      config, trainer::objective_traits(config.objective).roles, nullptr, distributed::Mesh());
  if (!roles.has(args.player) || !roles.at(args.player).optimizer) {
    fail_user("--player {}: objective {} trains no such role", args.player, config.objective.name);
  }
  const std::string& codec = config.data.make.codec;
  if (!codec.empty() && (!model::codec_has_weights(codec) || !config.data.codec_weights.empty())) {
    objective->use_codec(model::make_video_codec(codec, trainer::codec_options(config)));
  }
  trainer::RoleState& player = roles.at(args.player);
  const at::ScalarType dtype = config.train.precision == "fp64" ? at::kDouble : at::kFloat;
  model::TensorMap inputs = read_step_inputs(args.inputs, dtype, config.model);
  for (auto& [name, tensor] : inputs) {
    if (!trainer::stays_on_host(tensor)) tensor = tensor.to(at::Device(config.train.device));
  }
  const std::string reported = objective->reported_input();
  if (inputs.contains(reported)) inputs.at(reported).requires_grad_(true);

  model::TensorMap outputs;
  at::Tensor loss;
  objective->evaluate(args.player,
                      inputs,
                      roles.networks(config),
                      model::GradMode::kFull,
                      [&](const trainer::LossTerms& terms, bool) {
                        loss = loss.defined() ? loss + terms.total.detach() : terms.total.detach();
                        for (const auto& [name, tensor] : terms.details) {
                          outputs[name] = tensor.to(dtype).contiguous();
                        }
                        terms.total.backward();
                      });
  if (inputs.contains(reported)) outputs["grad.latents"] = inputs.at(reported).grad();
  outputs["loss"] = loss;
  for (const auto& [name, gradient] : player.weights->gradients()) {
    outputs["grad_norm." + name] = gradient.norm();
  }
  outputs["grad_norm"] = at::scalar_tensor(
      trainer::squared_gradient_norm(*player.weights).sqrt().item<double>(), dtype);
  model::write_safetensors(args.output, outputs);
  log::info("wrote {}: loss {:g}, gradient norm {:g}",
            args.output,
            loss.item<double>(),
            outputs["grad_norm"].item<double>());
  return kDone;
}

}  // namespace vmla::launch
