#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "kernels/adamw/adamw_params.h"
#include "kernels/attention/merge_part_params.h"
#include "kernels/gelu/gelu_params.h"
#include "kernels/modulate/modulate_params.h"
#include "kernels/rms_norm/rms_norm_params.h"
#include "kernels/rope_3d/rope_3d_params.h"

/// What the program and the module libvmla_cuda.so agree on. The two are compiled apart, so each
/// carries a hash of this header and of all it includes (kernel_table_hash.h, made by CMake): a
/// module of another build is refused before its table is read.
namespace vmla::kernels::cuda {

/// A function of the module: queues the operation in LibTorch's current stream of the device with
/// this index. Throws c10::Error when CUDA refuses the launch.
template <class Params>
using Kernel = void (*)(const Params& params, int device);

/// Work of one GPU that was recorded, to be queued as a whole as often as wanted: a CUDA graph
/// (CUDA C++ Programming Guide, "CUDA Graphs"). Its kernels use the addresses that they were
/// recorded with: what they read must still be there, and what they write is written over. Memory
/// that was allocated while recording stays the graph's until it goes.
class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  virtual ~Graph() = default;
  /// Queues the work in LibTorch's current stream of its device.
  virtual void replay() = 0;
};

/// Records what `work` queues on a device, and does none of it. Throws c10::Error where CUDA cannot
/// record it, as where the host would have to wait. `before`: null, or a graph that is always
/// replayed before this one, whose memory they then share.
using Record = std::unique_ptr<Graph> (*)(const std::function<void()>& work,
                                          int device,
                                          const Graph* before);

/// All that the module gives the program: no other symbol of it is bound by name but the functions
/// below and the one that makes NCCL engines (trainer/distributed/nccl_engine.h).
struct KernelTable {
  /// Empty where CUDA's runtime finds a GPU, else why not, in one line. Makes no context, for the
  /// process may not have chosen its GPU yet; whether that runs the kernels, check_kernels finds.
  std::string (*why_unusable)();
  /// Locks pages of the host's memory for copies of all GPUs; empty, or why not, in one line.
  std::string (*lock_pages)(void* begin, size_t bytes);
  /// `begin` as it was locked. Never throws: the process may be ending.
  void (*unlock_pages)(void* begin);
  Record record;
  Kernel<RmsNormParams> rms_norm;
  Kernel<RmsNormBackwardParams> rms_norm_backward;
  Kernel<LayerNormModulateParams> layer_norm_modulate;
  Kernel<LayerNormModulateBackwardParams> layer_norm_modulate_backward;
  Kernel<GatedResidualParams> gated_residual;
  Kernel<GatedResidualBackwardParams> gated_residual_backward;
  Kernel<GeluParams> gelu_tanh;
  Kernel<GeluBackwardParams> gelu_tanh_backward;
  Kernel<RopeParams> rope;
  Kernel<RopeLatentsParams> rope_latents;
  Kernel<MergePartParams> merge_part;
  Kernel<AdamwParams> adamw;
};

/// Exported by the module: the hash of its own build, 64 hex digits.
constexpr const char* kTableHashFunction = "vmla_cuda_table_hash";
using TableHashFunction = const char* (*)();

/// Exported by the module: its table.
constexpr const char* kTableFunction = "vmla_cuda_kernels";
using TableFunction = const KernelTable* (*)();

}  // namespace vmla::kernels::cuda
