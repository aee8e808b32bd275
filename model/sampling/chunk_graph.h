#pragma once

#include "kernels/cuda_graph.h"
#include "model/network/kv_cache.h"
#include "model/sampling/chunk_passes.h"

#include <ATen/core/Tensor.h>

#include <list>
#include <memory>
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

/// Where graphs find a chunk's noise, and leave what comes of it. One after the other uses it.
struct ChunkBuffers {
  at::Tensor noise, latents;
  std::vector<at::Tensor> fresh_noise;
  std::vector<LayerKv> kv;  // as the cache stores them
};

/// The passes of a chunk as CUDA graphs: one denoises, one makes the keys and values of what came
/// out. The host starts two things instead of some hundred a layer. Results are those of the passes
/// to the bit.
class ChunkGraph {
 public:
  /// Records the passes, and computes nothing. Whatever they keep (PassCache) must be there, from a
  /// chunk that was computed. Weights, window, the prompt's keys and values and `buffers` must stay
  /// where they are as long as this is used. `cache`: the window's. `shares`: null, or one whose
  /// memory this one uses too.
  ChunkGraph(const ChunkPasses& passes,
             const KvCache& cache,
             const ChunkBuffers& buffers,
             const ChunkGraph* shares);

  const ChunkShape& shape() const { return shape_; }

  /// denoise() of a chunk of this shape.
  at::Tensor denoise(const PreparedPlan& plan,
                     const at::Tensor& noise_BFCHW,
                     const FreshNoise& fresh_noise);
  /// finished_kv() of that chunk, as the cache stores it. The next call of any graph with these
  /// buffers writes over it.
  const std::vector<LayerKv>& finished_kv();

 private:
  ChunkShape shape_;
  PreparedPlan plan_;  // its angles are what the kernels read
  const ChunkBuffers& buffers_;
  std::unique_ptr<kernels::CudaGraph> denoising_, finishing_;
};

/// Graphs of the chunks of videos of one size: one a shape, in the same memory, for one runs at a
/// time.
class ChunkGraphs {
 public:
  /// Whether a network's passes can be recorded on the device: on a GPU, with weights that stay
  /// where they are and no other ranks.
  static bool can_record(const Network& network, at::Device device);

  /// The recorded passes for this chunk; null where it is to be computed as usual. A shape is
  /// recorded when it comes for the second time, for the first leaves what later passes find.
  /// `noise_BFCHW`: any of the size, which is the same in all calls. `cache`: the window's, whose
  /// addresses must stay, as must the prompt's keys and values once they are there.
  ChunkGraph* graph_for(const ChunkPasses& passes,
                        const at::Tensor& noise_BFCHW,
                        const KvCache& cache);

 private:
  std::vector<ChunkShape> seen_;
  ChunkBuffers buffers_;
  std::list<ChunkGraph> graphs_;  // a list: addresses stay
};

}  // namespace vmla::model
