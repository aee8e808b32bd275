#include <ATen/ATen.h>

#include <algorithm>

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
  /// Computed as usual: of the first video three, whose windows grow, and the first that sees a
  /// full one; of later ones the first, which makes the prompt's keys and values.
  int64_t computed = 4, computed_later = 1;
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

/// The same video of another prompt, with other noise.
RolloutRequest of_another_prompt(RolloutRequest r) {
  r.text_BTE = draw("a third prompt", r.text_BTE.sizes());
  r.frame_noise = [f = r.frame_noise](int64_t frame) { return f(frame + 100); };
  r.frame_renoise = [f = r.frame_renoise](int64_t frame, int64_t k) { return f(frame + 100, k); };
  return r;
}

int64_t count_replayed(const std::vector<RolloutChunk>& chunks) {
  return std::ranges::count_if(chunks, &RolloutChunk::replayed);
}

/// Replayed chunks are the computed ones to the bit, and as many as may be are replayed, in a first
/// video and in two that come after it.
void check_replayed(const Video& video, at::Device device) {
  ModelConfig config = tiny_causal(video.attention, 2, 8, 1);
  video.config(config);
  FrozenWeights weights(
      config, drawn_weights(config), "drawn", device, video.dtype, MatrixOrder::kForPasses);
  const int64_t first = config.independent_first_frame ? 1 : 0;
  RolloutRequest asked = tiny_rollout(config, first + 2 * video.chunks);
  video.request(asked);
  SamplerSettings settings = video.sampler;
  settings.cuda_graph = true;
  CausalSampler sampler({config, weights}, settings);
  int64_t past = 0;
  for (const RolloutRequest& each : {asked, of_another_prompt(asked), asked}) {
    const RolloutRequest request = on_device(each, device);
    std::vector<RolloutChunk> replayed;
    sampler.sample(request, [&](const RolloutChunk& chunk) { replayed.push_back(chunk); });
    const auto computed = sampled_chunks({config, weights}, request, video.sampler);
    const std::string name = "video " + std::to_string(past) + ", chunk ";
    for (size_t i = 0; i < computed.size(); ++i) {
      require_near(
          name + std::to_string(i), replayed[i].latents_BFCHW, computed[i].latents_BFCHW, 0.0);
    }
    const int64_t as_usual = past++ == 0 ? first + video.computed : first + video.computed_later;
    const int64_t expected =
        device.is_cuda() ? static_cast<int64_t>(computed.size()) - as_usual : 0;
    TORCH_CHECK(count_replayed(replayed) == expected,
                name + "all: ",
                count_replayed(replayed),
                " were replayed, expected ",
                expected);
  }
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
       {.config = [](ModelConfig& c) { c.independent_first_frame = true; }, .computed_later = 0}},
      // The chunk where it changes is computed.
      {"another prompt",
       {.request = change_at(10, PromptSwitch::kKeep), .computed = 5, .computed_later = 2}},
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
