#pragma once

#include "kernels/cuda_graph.h"
#include "model/network/kv_cache.h"
#include "model/sampling/chunk_passes.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

namespace vmla::model {

/// What must be alike for two chunks to be computed by the same kernels at the same addresses. They
/// may differ in their noise and in the positions of the frames that they see.
struct ChunkShape {
  explicit ChunkShape(const ChunkPasses& passes);
  bool operator==(const ChunkShape&) const = default;

  int64_t window_frames, frames, output_begin;
  std::vector<kernels::AttentionSegment> segments, output_segments;
  std::vector<const void*> addresses;  // of the window, and of the prompt's keys and values
};

/// The passes of a chunk as CUDA graphs: one denoises, one makes the keys and values of what came
/// out. The host starts two things instead of some hundred a layer. Results are those of the passes
/// to the bit.
class ChunkGraph {
 public:
  /// Whether a network's passes can be recorded on the device: on a GPU, with weights that stay
  /// where they are and no other ranks.
  static bool can_record(const Network& network, at::Device device);

  /// Records the passes, and computes nothing. Whatever they keep (PassCache) must be there, from a
  /// chunk that was computed. Weights, window and the prompt's keys and values must stay where they
  /// are as long as this is used. `noise_BFCHW`: any of the size. `cache`: the window's.
  ChunkGraph(const ChunkPasses& passes, const at::Tensor& noise_BFCHW, const KvCache& cache);

  const ChunkShape& shape() const { return shape_; }

  /// denoise() of a chunk of this shape.
  at::Tensor denoise(const PreparedPlan& plan,
                     const at::Tensor& noise_BFCHW,
                     const FreshNoise& fresh_noise);
  /// finished_kv() of that chunk, as the cache stores it. The next call writes over it.
  const std::vector<LayerKv>& finished_kv();

 private:
  ChunkShape shape_;
  // What the kernels read and write.
  PreparedPlan plan_;
  std::vector<LayerKv> window_;
  std::optional<ChunkCache> chunk_cache_;
  at::Tensor noise_, latents_;
  std::vector<at::Tensor> fresh_noise_;
  std::vector<LayerKv> kv_;
  std::unique_ptr<kernels::CudaGraph> denoising_, finishing_;
};

}  // namespace vmla::model
