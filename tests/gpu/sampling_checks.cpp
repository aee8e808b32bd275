#include <ATen/ATen.h>

#include "tests/gpu/check.h"
#include "tests/model/tiny_rollout.h"

namespace vmla::tests::gpu {
namespace {

using namespace vmla::model;

/// A video whose window is soon full, so that chunks are alike.
struct Video {
  std::string attention = "mla";
  SamplerSettings sampler = tiny_sampler(SamplerKind::kFewStep);
  at::ScalarType dtype = at::kFloat;
  std::function<void(ModelConfig&)> config = [](ModelConfig&) {};
  std::function<void(RolloutRequest&)> request = [](RolloutRequest&) {};
  int64_t chunks = 8;
  /// Computed as usual: the first three, whose windows grow, and the first that sees a full one.
  int64_t computed = 4;
};

RolloutRequest on_device(RolloutRequest r, at::Device device) {
  const auto moved = [device](const at::Tensor& x) { return x.to(device, at::kFloat); };
  r.text_BTE = moved(r.text_BTE);
  r.negative_text_1TE = moved(r.negative_text_1TE);
  r.frame_noise = [moved, f = r.frame_noise](int64_t frame) { return moved(f(frame)); };
  r.frame_renoise = [moved, f = r.frame_renoise](int64_t frame, int64_t k) {
    return moved(f(frame, k));
  };
  for (PromptChange& change : r.prompt_changes) change.text_BTE = moved(change.text_BTE);
  return r;
}

/// Replayed chunks are the computed ones to the bit, and as many as may be are replayed.
void check_replayed(const Video& video, at::Device device) {
  ModelConfig config = tiny_causal(video.attention, 2, 8, 1);
  video.config(config);
  FrozenWeights weights(
      config, drawn_weights(config), "drawn", device, video.dtype, MatrixOrder::kForPasses);
  const int64_t first = config.independent_first_frame ? 1 : 0;
  RolloutRequest asked = tiny_rollout(config, first + 2 * video.chunks);
  video.request(asked);
  const RolloutRequest request = on_device(asked, device);
  SamplerSettings sampler = video.sampler;
  const auto computed = sampled_chunks({config, weights}, request, sampler);
  sampler.cuda_graph = true;
  const auto replayed = sampled_chunks({config, weights}, request, sampler);
  int64_t count = 0;
  for (size_t i = 0; i < computed.size(); ++i) {
    require_near(
        "chunk " + std::to_string(i), replayed[i].latents_BFCHW, computed[i].latents_BFCHW, 0.0);
    count += replayed[i].replayed ? 1 : 0;
  }
  const int64_t expected = device.is_cuda() ? video.chunks - video.computed : 0;
  TORCH_CHECK(count == expected, count, " chunks were replayed, expected ", expected);
}

std::function<void(RolloutRequest&)> change_at(int64_t frame, PromptSwitch how) {
  return [frame, how](RolloutRequest& r) {
    r.prompt_changes = {{frame, draw("another prompt", r.text_BTE.sizes())}};
    r.prompt_switch = how;
  };
}

}  // namespace

std::vector<Check> sampling_checks() {
  std::vector<std::pair<std::string, Video>> videos = {
      {"mla", {}},
      {"dense", {.attention = "dense"}},
      {"bf16", {.dtype = at::kBFloat16}},
      {"guided, UniPC", {.sampler = tiny_sampler(SamplerKind::kUnipc, 3.0)}},
      {"windows rebuilt in every pass", {}},
      {"latents in eight bits", {}},
      {"absolute positions", {.config = [](ModelConfig& c) { c.rope_cache_policy = "absolute"; }}},
      {"first frame alone",
       {.config = [](ModelConfig& c) { c.independent_first_frame = true; }, .computed = 4}},
      // The prompt's keys and values come to other places: two chunks more are computed.
      {"another prompt", {.request = change_at(10, PromptSwitch::kKeep), .computed = 6}},
  };
  videos[4].second.sampler.kept_window_bytes = 0;
  videos[5].second.sampler.kv_cache_dtype = KvCacheDtype::kInt8;
  std::vector<Check> checks;
  for (const auto& [name, video] : videos) {
    checks.push_back({"chunks replayed: " + name,
                      [video](at::Device device) { check_replayed(video, device); }});
  }
  return checks;
}

}  // namespace vmla::tests::gpu
