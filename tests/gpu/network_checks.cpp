#include <ATen/ATen.h>

#include "model/weights/uploaded_weights.h"
#include "tests/gpu/check.h"
#include "tests/model/tiny_network.h"

namespace vmla::tests::gpu {
namespace {

using namespace vmla::model;

// fp32 through two layers of sums of a hundred terms, several of them cancelling.
constexpr double kTolerance32 = 2e-5;

DitInputs on_device(const DitInputs& in, at::Device device, at::ScalarType dtype) {
  return {in.latents_BFCHW.to(device, dtype),
          in.timesteps_BF.to(device),
          in.text_BTE.to(device, dtype)};
}

PreparedPlan plan_on(const ModelConfig& config,
                     const AttentionPlan& plan,
                     at::Device device,
                     at::ScalarType dtype) {
  return prepare_plan(config,
                      plan,
                      {kTinyHeight / 2, kTinyWidth / 2},
                      at::TensorOptions().device(device).dtype(dtype));
}

struct Result {
  at::Tensor flow;
  std::map<std::string, at::Tensor> gradients;
};

/// Teacher forcing with gradients of every weight: the network as it is trained.
Result train_once(const ModelConfig& config, at::Device device, at::ScalarType dtype) {
  TrainedWeights weights(config, drawn_weights(config), "drawn", device, dtype, dtype);
  const DitInputs noisy = tiny_inputs(config, 8);
  const at::Tensor clean = draw("clean", noisy.latents_BFCHW.sizes()).to(device, dtype);
  const at::Tensor flow =
      teacher_forcing_forward({config, weights},
                              clean,
                              on_device(noisy, device, dtype),
                              plan_on(config, teacher_forcing_plan(config, 8), device, dtype),
                              {.grad = GradMode::kFull});
  flow.backward(draw("cotangent", flow.sizes()).to(flow.options()));
  Result result{flow.detach().cpu(), {}};
  for (const auto& [name, gradient] : weights.gradients()) {
    result.gradients[name] = gradient.to(at::kCPU, at::kDouble);
  }
  return result;
}

void check_training(const std::string& attention, at::Device device) {
  const ModelConfig config = tiny_causal(attention, 2, 6, 1);
  const Result expected = train_once(config, at::kCPU, at::kDouble);
  const Result actual = train_once(config, device, at::kFloat);
  require_near("flow", actual.flow, expected.flow, kTolerance32);
  for (const auto& [name, gradient] : expected.gradients) {
    require_near("gradient of " + name, actual.gradients.at(name), gradient, 5 * kTolerance32);
  }
}

/// Chunk by chunk against the cache, in the given form of the latent attention, equals the mask.
void check_cache(const std::string& attention, LatentForm form, at::Device device) {
  const ModelConfig config = tiny_causal(attention, 2, 6, 1);
  FrozenWeights weights(config, drawn_weights(config), "drawn", device, at::kFloat);
  const Network network{config, weights};
  const DitInputs inputs = on_device(tiny_inputs(config, 12), device, at::kFloat);
  const auto plan = plan_on(config, chunk_causal_plan(config, 12), device, at::kFloat);
  const at::Tensor masked = dit_forward(network, inputs, plan, {}, {}).flow_BFCHW;

  KvCache cache(config, CacheKind::kStreaming, kTinyTokens, 12);
  std::vector<at::Tensor> flows;
  for (int64_t first = 0; first < 12; first += 2) {
    const KvWindow window = cache.window(first, 2);
    const DitOutputs out = dit_forward(
        network,
        frames_of(inputs, first, 2),
        plan_on(config, cached_plan(config, window.frames, first, 2), device, at::kFloat),
        window.layers,
        {.keep_kv = true, .form = form});
    flows.push_back(out.flow_BFCHW);
    cache.append(out.kv, first, 2);
  }
  require_near("cached", at::cat(flows, 1), masked, kTolerance32);
}

/// Masters in the host's memory arrive and are cast as beside the GPU, in pages that no copy makes
/// the host wait for; and what a copy still reads stays until it has.
void check_offloaded(at::Device device) {
  const ModelConfig config = tiny_mla();
  const Home home = device.is_cpu() ? Home(device) : Home::offloaded_from(device);
  const auto weights_at = [&](const Home& where) {
    return TrainedWeights(
        config, drawn_weights(config), "drawn", where, at::kBFloat16, at::kFloat, false);
  };
  TrainedWeights offloaded = weights_at(home), beside = weights_at(device);
  TORCH_CHECK(device.is_cpu() || offloaded.master(0).is_pinned(), "the masters can be paged out");
  {
    UploadedWeights weights(offloaded, device);
    for (const int64_t unit : offloaded.units()) {
      const auto here = weights.acquire(unit), expected = beside.acquire(unit);
      for (size_t i = 0; i < here.size(); ++i)
        require_near("tensor " + std::to_string(i), here[i], expected[i], 0.0);
      weights.release(unit);
    }
    weights.prefetch(0);
  }
  HomeBuffers buffers(home, "parts");
  at::Tensor part = buffers.empty(1 << 20, at::kFloat).fill_(2.0);
  const at::Tensor here = brought(part, home);
  finish_bringing(home);
  part.reset();
  require_near("part", here, at::full({1 << 20}, 2.0), 0.0);
}

}  // namespace

std::vector<Check> network_checks() {
  std::vector<Check> checks;
  for (const std::string attention : {"dense", "mla"}) {
    checks.push_back({attention + " network, trained",
                      [attention](at::Device device) { check_training(attention, device); }});
    checks.push_back({attention + " network, cached", [attention](at::Device device) {
                        check_cache(attention, LatentForm::kExpanded, device);
                      }});
  }
  checks.push_back({"mla network, cached and absorbed",
                    [](at::Device device) { check_cache("mla", LatentForm::kAbsorbed, device); }});
  checks.push_back({"weights in the host's memory", check_offloaded});
  return checks;
}

}  // namespace vmla::tests::gpu
