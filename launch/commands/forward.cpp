#include "launch/commands/forward.h"

#include "launch/chosen_device.h"
#include "launch/input_tensor.h"
#include "launch/model_override.h"
#include "model/formats/load_weights.h"
#include "model/formats/safetensors.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "model/network/attention_plan.h"
#include "model/network/cached_forward.h"
#include "model/network/wan_dit.h"
#include "model/weights/local_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::launch {
namespace {

struct ForwardInputs {
  model::DitInputs noisy;
  at::Tensor clean_latents;  // undefined in modes that do not need it
};

void expect_sizes(const std::string& path,
                  const char* name,
                  const at::Tensor& tensor,
                  at::IntArrayRef sizes) {
  if (tensor.sizes() != sizes)
    fail_user("{}: tensor '{}' is {}, it must be {} for these latents",
              path,
              name,
              tensor.sizes(),
              sizes);
}

ForwardInputs read_inputs(const std::string& path, bool needs_clean) {
  const model::SafetensorsFile file = model::read_safetensors(path);
  ForwardInputs in;
  in.noisy.latents_BFCHW = input_tensor(file, path, "latents", 5);
  const auto& latents = in.noisy.latents_BFCHW;
  in.noisy.timesteps_BF = input_tensor(file, path, "timesteps", 2);
  expect_sizes(path, "timesteps", in.noisy.timesteps_BF, {latents.size(0), latents.size(1)});
  in.noisy.text_BTE = input_tensor(file, path, "text", 3);
  if (in.noisy.text_BTE.size(0) != latents.size(0)) {
    fail_user("{}: tensor 'text' has {} samples, latents have {}",
              path,
              in.noisy.text_BTE.size(0),
              latents.size(0));
  }
  if (needs_clean) {
    in.clean_latents = input_tensor(file, path, "clean_latents", 5);
    expect_sizes(path, "clean_latents", in.clean_latents, latents.sizes());
  }
  const auto& times = in.noisy.timesteps_BF;
  if (times.min().item<double>() < 0 || times.max().item<double>() > 1000) {
    fail_user("{}: tensor 'timesteps' must lie in 0..1000, found {:g} to {:g}",
              path,
              times.min().item<double>(),
              times.max().item<double>());
  }
  return in;
}

void move_to(at::Device device, ForwardInputs& in) {
  for (at::Tensor* tensor :
       {&in.noisy.latents_BFCHW, &in.noisy.timesteps_BF, &in.noisy.text_BTE, &in.clean_latents}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
}

/// flow [B, F, C, H, W] of the noisy latents.
at::Tensor run_mode(const std::string& mode,
                    const model::Network& network,
                    const ForwardInputs& in) {
  const auto& config = network.config;
  const auto& latents = in.noisy.latents_BFCHW;
  const int64_t frames = latents.size(1);
  if (mode == "cached") return model::cached_forward(network, in.clean_latents, in.noisy);
  const auto grid = model::token_grid(config, latents.size(3), latents.size(4));
  const auto prepared = [&](model::AttentionPlan plan) {
    return model::prepare_plan(config, std::move(plan), grid, latents.options());
  };
  if (mode == "teacher_forcing") {
    return model::teacher_forcing_forward(network,
                                          in.clean_latents,
                                          in.noisy,
                                          prepared(model::teacher_forcing_plan(config, frames)),
                                          {});
  }
  const auto plan = mode == "bidirectional" ? model::bidirectional_plan(frames)
                                            : model::chunk_causal_plan(config, frames);
  return model::dit_forward(network, in.noisy, prepared(plan), {}, {}).flow_BFCHW;
}

}  // namespace

int run(const ForwardArgs& args) {
  const at::NoGradGuard no_grad;
  const ChosenDevice chosen = open_device(args);
  const model::LoadedWeights weights = model::load_weights(args.weights, args.weights_role);
  const model::ModelConfig config = overridden_model(weights, args.config, args.set);
  const bool needs_clean = args.mode == "teacher_forcing" || args.mode == "cached";
  ForwardInputs inputs = read_inputs(args.inputs, needs_clean);
  move_to(chosen.device, inputs);
  model::FrozenWeights source(
      config, weights.tensors, weights.source, chosen.device, chosen.compute_dtype);
  const at::Tensor flow = run_mode(args.mode, {config, source}, inputs);
  model::write_safetensors(args.output, {{"flow", flow.to(at::kCPU, at::kFloat)}});
  log::info("wrote {}: flow {}", args.output, flow.sizes());
  return kDone;
}

}  // namespace vmla::launch
