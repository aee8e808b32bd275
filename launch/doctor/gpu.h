#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/gpu_driver.h"
#include "launch/doctor/finding.h"

/// GPUs, the kernels on whatever device, attention, ranks. What is measured here is 0 where it was
/// not, and a `problem` that is not empty says why.
namespace vmla::launch::doctor {

struct DriverFacts {
  kernels::DriverAnswer driver = {};
  std::string version = {};  // of the kernel's part, as /proc/driver/nvidia/version says
  std::string visible = {};  // CUDA_VISIBLE_DEVICES
  bool visible_set = false;
  std::string problem = {};   // why no GPU is used
  bool device_files = false;  // /dev/nvidiactl is there: this machine has a GPU
};

struct GpuFacts {
  int64_t index = 0;
  kernels::DriverGpu gpu = {};
  double free_bytes = 0;
  double to_device = 0, from_device = 0;  // bytes/s, of pinned memory
  double copy = 0;                        // bytes/s read and written within the device
  double gemm_bf16 = 0, gemm_fp32 = 0;    // FLOP/s of 8192 x 8192
  std::string problem = {};
};

/// One kernel beside its ATen reference.
struct KernelFacts {
  std::string name = {};
  double error = 0;  // max |difference| / max |reference| on small odd shapes, fp32
  double tolerance = 0;
  double rate = 0;           // bytes/s read and written, at a block's true sizes
  std::string problem = {};  // it threw
};

/// One shape of attention.
struct AttentionFacts {
  std::string shape = {};   // "dense head, 128 / 128, bf16"
  std::string serves = {};  // the back end that this program takes
  /// Other back ends that run the shape, and their FLOP/s.
  std::vector<std::pair<std::string, double>> also_take = {};
  double error = 0, tolerance = 0;  // as of a kernel
  double rate = 0;                  // FLOP/s, forward
  std::string problem = {};
};

struct NcclFacts {
  int64_t gpus = 0;
  std::string built_with = {}, loaded = {};  // versions: of nccl.h, of the library
  double rate = 0;                           // bus bandwidth of all-gather, bytes/s
  std::string problem = {};
};

struct NetworkFacts {
  std::string host = {}, address = {};
  bool only_loopback = false;
  double store_seconds = 0;     // one round trip of a key
  double launcher_seconds = 0;  // vmla-launch with two processes, from start to end
  std::string store_problem = {}, launcher_problem = {};
};

Finding judge_driver(const DriverFacts& facts, const kernels::CudaBuild& build);
Finding judge_gpu(const GpuFacts& facts, const kernels::CudaBuild& build);
/// `copy_rate`: of the device, bytes/s; 0: kernels are not judged by their rate, as on a CPU.
Finding judge_kernel(const KernelFacts& facts, double copy_rate);
/// `gemm_rate`: of the device in the shape's dtype, FLOP/s; 0 likewise.
Finding judge_attention(const AttentionFacts& facts, double gemm_rate);
Finding judge_nccl(const NcclFacts& facts);
Findings judge_network(const NetworkFacts& facts);

/// What arithmetic says a GPU can do at most, from what its driver says of it; 0: not known.
double peak_bandwidth(const kernels::DriverGpu& gpu);  // bytes/s
double peak_bf16(const kernels::DriverGpu& gpu);       // FLOP/s, dense, sums in fp32

}  // namespace vmla::launch::doctor
