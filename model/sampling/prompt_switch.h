#pragma once

#include "model/network/kv_cache.h"
#include "model/network/wan_dit.h"
#include "model/sampling/flow_solver.h"

#include <ATen/core/Tensor.h>

#include <deque>
#include <functional>
#include <string>

namespace vmla::model {

/// What becomes of the frames so far when a video's prompt changes (docs/algorithms.md 6.4). The
/// text's own keys and values are made anew in every case.
enum class PromptSwitch {
  kFlush,    // the cache keeps the sink and the last two frames (Infinity-RoPE)
  kRecache,  // the attended frames' keys and values are computed again under the new prompt
             // (LongLive)
  kKeep,     // the cache stays as the old prompt left it
};
PromptSwitch parse_prompt_switch(const std::string& name);

/// Recent frames that a flush keeps besides the sink.
constexpr int64_t kFlushKeepsFrames = 2;

/// The finished chunks whose frames the next chunk's context comes from: what a re-cache runs
/// through the network again. Bounded by the model's window; with an unlimited one, the whole
/// video.
class AttendedLatents {
 public:
  explicit AttendedLatents(const ModelConfig& config) : config_(config) {}

  /// Chunks come in order; those that no later chunk's context touches are dropped.
  void add(int64_t first_frame, const at::Tensor& latents_BFCHW);

  /// Runs the kept frames, closed up to one sequence, through the chunk-causal plan at the timestep
  /// `context_noise` and overwrites their places in the cache. `repeat` makes the network's batch
  /// from a chunk's. Frames that have left the window have no say any more, so this equals the
  /// cache that the prompt itself would have filled as long as nothing has been evicted, and is
  /// LongLive's approximation of it afterwards.
  void recompute(const Network& network,
                 const at::Tensor& text_BTE,
                 CrossCache& cross,
                 double context_noise,
                 const std::function<at::Tensor(const at::Tensor&)>& repeat,
                 KvCache& cache) const;

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
