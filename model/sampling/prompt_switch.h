#pragma once

#include "model/network/kv_cache.h"
#include "model/network/wan_dit.h"
#include "model/sampling/flow_solver.h"

#include <ATen/core/Tensor.h>

#include <deque>
#include <functional>
#include <string>

namespace vmla::model {

/// What happens to the cached frames when a video's prompt changes (docs/algorithms.md 6.4). The
/// text's own keys and values are computed anew in every case.
enum class PromptSwitch {
  kFlush,    // the cache keeps the sink and the last two frames (Infinity-RoPE)
  kRecache,  // keys and values of attended frames are recomputed under the new prompt (LongLive)
  kKeep,     // the cache stays as it is, computed under the old prompt
};
/// "flush", "recache" or "keep"; UserError on another name.
PromptSwitch parse_prompt_switch(const std::string& name);

/// Recent frames that a flush keeps besides the sink.
constexpr int64_t kFlushKeepsFrames = 2;

/// The finished chunks that hold the next chunk's context: what a re-cache runs through the network
/// again. As many as the model's window covers; without a window, the whole video.
class AttendedLatents {
 public:
  explicit AttendedLatents(const ModelConfig& config) : config_(config) {}

  /// Adds the next finished chunk, and drops those that no later chunk's context reaches.
  void add(int64_t first_frame, const at::Tensor& latents_BFCHW);

  /// Runs the kept frames as one sequence, without the gaps between them, through the chunk-causal
  /// plan at the timestep `context_noise`, and overwrites their places in the cache. `repeat` makes
  /// the network's batch from latents (both halves with guidance). As long as no frame has left the
  /// window, the cache is then what the new prompt itself would have filled; afterwards it is
  /// LongLive's approximation, in which evicted frames have no influence.
  void recompute(const Network& network,
                 const at::Tensor& text_BTE,
                 PassCache& kept,
                 double context_noise,
                 const std::function<at::Tensor(const at::Tensor&)>& repeat,
                 KvCache& cache) const;

  /// Latent frames that are kept.
  int64_t frames() const;

 private:
  struct Chunk {
    int64_t first_frame;
    at::Tensor latents_BFCHW;
    int64_t count() const { return latents_BFCHW.size(1); }
    int64_t end() const { return first_frame + count(); }
  };
  const ModelConfig& config_;
  std::deque<Chunk> chunks_;
};

}  // namespace vmla::model
