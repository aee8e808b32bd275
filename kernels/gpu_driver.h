#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// What the NVIDIA driver says of this machine, asked through its own library (libcuda.so.1) and
/// without CUDA's runtime: so it can be asked, and answered in one line, where nothing else of CUDA
/// loads. No context is made and no memory taken on a GPU.
namespace vmla::kernels {

/// A GPU that this process sees.
struct DriverGpu {
  std::string name = {};
  int major = 0, minor = 0;    // compute capability
  int64_t memory_bytes = 0;    // in all
  int multiprocessors = 0;     // SMs
  double clock_hz = 0;         // of the SMs, at most
  double memory_clock_hz = 0;  // at most; two words a cycle
  int memory_bus_bits = 0;
};

struct DriverAnswer {
  bool library = false;  // libcuda.so.1 can be loaded
  bool answers = false;  // and has the functions that are asked
  int cuda_version = 0;  // the newest CUDA that it serves, as 1000 major + 10 minor; 0: not said
  int init_status = 0;   // of cuInit; 0: well
  std::vector<DriverGpu> gpus = {};
};

/// Asks the driver. What it sees follows CUDA_VISIBLE_DEVICES as it is at the first call.
const DriverAnswer& driver_answer();

/// What the module was built for.
struct CudaBuild {
  int cuda_version = 0;  // of LibTorch, as above; 0: not known
  std::vector<std::string> architectures =
      {};  // as CMake writes them: "80", "90a"; empty: not known
};

/// Of this program's own build.
const CudaBuild& cuda_build();

/// Whether a module with kernels for these architectures runs on a GPU of this capability. Each is
/// there as machine code, for its own major version from its minor version on, and as PTX, which a
/// driver translates for every later GPU; a letter behind the number ("90a") binds both to that
/// very GPU (CUDA C++ Programming Guide, "Application Compatibility").
bool has_kernels_for(int major, int minor, const std::vector<std::string>& architectures);

/// In one line why no GPU can be used; empty where one can, or the driver does not say.
/// `visible`: CUDA_VISIBLE_DEVICES, null where it is not set.
std::string why_no_gpu(const DriverAnswer& driver, const CudaBuild& build, const char* visible);

/// The same of one GPU, by its number among those that this process sees; empty where the driver
/// says nothing of it.
std::string why_gpu_unusable(const DriverAnswer& driver, const CudaBuild& build, int64_t index);

}  // namespace vmla::kernels
