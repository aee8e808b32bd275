#include "model/sampling/prompt_switch.h"

#include "model/io/error.h"
#include "model/network/attention_plan.h"
#include "model/network/context_pass.h"

#include <ATen/ATen.h>

namespace vmla::model {

PromptSwitch parse_prompt_switch(const std::string& name) {
  if (name == "flush") return PromptSwitch::kFlush;
  if (name == "recache") return PromptSwitch::kRecache;
  if (name == "keep") return PromptSwitch::kKeep;
  fail_user("unknown prompt switch '{}': known are flush, recache, keep", name);
}

void AttendedLatents::add(int64_t first_frame, const at::Tensor& latents_BFCHW) {
  chunks_.push_back({first_frame, latents_BFCHW});
  if (config_.local_attn_size < 0) return;
  // Chunks are kept whole: a frame's keys and values depend on all frames of its chunk.
  const int64_t recent_begin = chunks_.back().end() - (config_.local_attn_size - config_.sink_size);
  std::erase_if(chunks_, [&](const Chunk& chunk) {
    return chunk.first_frame >= config_.sink_size && chunk.end() <= recent_begin;
  });
}

void AttendedLatents::recompute(const Network& network,
                                const at::Tensor& text_BTE,
                                PassCache& kept,
                                double context_noise,
                                const std::function<at::Tensor(const at::Tensor&)>& repeat,
                                KvCache& cache) const {
  if (chunks_.empty()) return;
  std::vector<at::Tensor> parts;
  for (const Chunk& chunk : chunks_) parts.push_back(chunk.latents_BFCHW);
  const at::Tensor latents = repeat(at::cat(parts, 1));
  const int64_t count = latents.size(1);

  ModelConfig sequence = config_;
  // With independent_first_frame, the single first frame may have left the window; what is left is
  // whole blocks.
  if (chunks_.front().first_frame > 0) sequence.independent_first_frame = false;
  const TokenGrid grid = token_grid(config_, latents.size(3), latents.size(4));
  const PreparedPlan plan =
      prepare_plan(config_, chunk_causal_plan(sequence, count), grid, latents.options());
  const std::vector<LayerKv> no_window;
  const auto kv = context_kv(network,
                             {.latents_BFCHW = latents,
                              .timestep = context_noise,
                              .text_BTE = text_BTE,
                              .plan = plan,
                              .window = no_window,
                              .pass_cache = &kept});

  // In ascending order: where two kept frames share a slot of the ring, the newer one must stay.
  int64_t row = 0;
  for (const Chunk& chunk : chunks_) {
    const int64_t rows = chunk.count() * plan.tokens_per_frame;
    std::vector<LayerKv> part;
    for (const LayerKv& layer : kv) {
      part.push_back({layer.content.narrow(1, row, rows), layer.key.narrow(1, row, rows)});
    }
    cache.append(part, chunk.first_frame, chunk.count());
    row += rows;
  }
}

int64_t AttendedLatents::frames() const {
  int64_t frames = 0;
  for (const Chunk& chunk : chunks_) frames += chunk.count();
  return frames;
}

}  // namespace vmla::model
