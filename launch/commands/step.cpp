#include "launch/commands/step.h"

#include "launch/guarded.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "model/safetensors.h"
#include "trainer/compute_device.h"
#include "trainer/config_yaml.h"
#include "trainer/objectives/registry.h"
#include "trainer/optimizer.h"
#include "trainer/role_state.h"

#include <ATen/ATen.h>

namespace vmla::launch {

int cmd_step(const StepArgs& args) {
  const trainer::TrainConfig config =
      trainer::load_config(args.config, args.set, trainer::Purpose::kStep);
  trainer::prepare_device(config.train.device);
  const auto objective = trainer::make_objective(config.objective, config.model);
  trainer::RoleSet roles = trainer::build_roles(config, objective->roles(), nullptr);
  if (!roles.has(args.player))
    fail_user("--player ", args.player, ": objective ", config.objective.name, " has no such role");
  trainer::RoleState& player = roles.at(args.player);
  model::TensorMap inputs = model::read_safetensors(args.inputs).tensors;
  for (auto& [name, tensor] : inputs) {
    // Mapped files are read-only memory; the network gets tensors of its own, and text rows in
    // fp32.
    tensor = tensor.clone();
    if (tensor.is_floating_point() && !tensor.isfinite().all().item<bool>()) {
      fail_user(args.inputs, ": tensor '", name, "' holds NaN or infinity");
    }
  }

  model::TensorMap outputs;
  at::Tensor loss;
  objective->evaluate(args.player,
                      inputs,
                      roles.networks(config.train.recompute == "block"),
                      model::GradMode::kFull,
                      [&](const trainer::LossTerms& terms, bool) {
                        loss = loss.defined() ? loss + terms.total.detach() : terms.total.detach();
                        for (const auto& [name, tensor] : terms.details)
                          outputs[name] = tensor.to(at::kFloat);
                        terms.total.backward();
                      });
  outputs["loss"] = loss;
  for (const auto& [name, gradient] : player.weights->gradients())
    outputs["grad_norm." + name] = gradient.norm();
  outputs["grad_norm"] = at::scalar_tensor(trainer::gradient_norm(*player.weights), at::kFloat);
  model::write_safetensors(args.output, outputs);
  log::info(cat("wrote ",
                args.output,
                ": loss ",
                loss.item<double>(),
                ", gradient norm ",
                outputs["grad_norm"].item<double>()));
  return kDone;
}

}  // namespace vmla::launch
