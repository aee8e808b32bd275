#include "kernels/gpu_driver.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>

namespace vmla::kernels {
namespace {

// Numbers of the driver's interface (cuda.h, CUDA 13.0), which never change.
constexpr int kNoDevice = 100;
constexpr int kSystemNotReady = 802;
constexpr int kMultiprocessors = 16, kClockKhz = 13, kMemoryClockKhz = 36, kBusBits = 37;
constexpr int kMajor = 75, kMinor = 76;

class Driver {
 public:
  explicit Driver(void* library) : library_(library) {}

  /// Calls a function of the library; false where it is missing or fails.
  template <class... Arguments>
  bool call(const char* name, Arguments... arguments) {
    return status_of(name, arguments...) == 0;
  }
  template <class... Arguments>
  int status_of(const char* name, Arguments... arguments) {
    const auto function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
    return function == nullptr ? -1 : function(arguments...);
  }
  bool has(const char* name) const { return dlsym(library_, name) != nullptr; }
  int attribute(int what, int device) {
    int value = 0;
    call("cuDeviceGetAttribute", &value, what, device);
    return value;
  }

 private:
  void* library_;
};

DriverGpu describe(Driver& driver, int device) {
  DriverGpu gpu;
  std::array<char, 256> name{};
  if (driver.call("cuDeviceGetName", name.data(), static_cast<int>(name.size()), device)) {
    gpu.name = name.data();
  }
  size_t bytes = 0;
  if (driver.call("cuDeviceTotalMem_v2", &bytes, device)) {
    gpu.memory_bytes = static_cast<int64_t>(bytes);
  }
  gpu.major = driver.attribute(kMajor, device);
  gpu.minor = driver.attribute(kMinor, device);
  gpu.multiprocessors = driver.attribute(kMultiprocessors, device);
  gpu.clock_hz = 1e3 * driver.attribute(kClockKhz, device);
  gpu.memory_clock_hz = 1e3 * driver.attribute(kMemoryClockKhz, device);
  gpu.memory_bus_bits = driver.attribute(kBusBits, device);
  return gpu;
}

DriverAnswer ask() {
  DriverAnswer answer;
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  answer.library = library != nullptr;
  if (!answer.library) return answer;
  Driver driver(library);
  answer.answers = driver.has("cuInit") && driver.has("cuDeviceGetCount");
  if (!answer.answers) return answer;
  driver.call("cuDriverGetVersion", &answer.cuda_version);
  answer.init_status = driver.status_of("cuInit", 0U);
  int count = 0;
  if (answer.init_status != 0 || !driver.call("cuDeviceGetCount", &count)) return answer;
  for (int i = 0; i < count; ++i) {
    int device = 0;
    if (driver.call("cuDeviceGet", &device, i)) answer.gpus.push_back(describe(driver, device));
  }
  return answer;
}

/// "13.0" of 13000.
std::string version_text(int cuda_version) {
  return std::to_string(cuda_version / 1000) + "." + std::to_string(cuda_version % 1000 / 10);
}

std::string capability(const DriverGpu& gpu) {
  return gpu.name + " has compute capability " + std::to_string(gpu.major) + "." +
         std::to_string(gpu.minor);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string no_kernels(const DriverGpu& gpu, const CudaBuild& build) {
  return capability(gpu) + ", for which this build has no kernel (it has those for " +
         joined(build.architectures) +
         "; launch/setup --cuda --cmake-arg -DCMAKE_CUDA_ARCHITECTURES=" +
         std::to_string(10 * gpu.major + gpu.minor) + " builds them, if LibTorch knows this GPU)";
}

/// False only where it is certain that there are none.
bool may_have_kernels(const DriverGpu& gpu, const CudaBuild& build) {
  return gpu.major == 0 || build.architectures.empty() ||
         has_kernels_for(gpu.major, gpu.minor, build.architectures);
}

/// cuInit succeeded or found nothing, and no GPU is visible: because of the variable or at all.
std::string none_visible(const char* visible) {
  if (visible == nullptr) return "the driver sees no GPU";
  const std::string said = std::string("CUDA_VISIBLE_DEVICES=") + visible;
  const std::string_view list(visible);
  if (list.find_first_not_of(" \t") == std::string_view::npos || list.starts_with("-")) {
    return said + " hides all GPUs; unset it, or name some";
  }
  return said + " names no GPU of this machine, or one twice; nvidia-smi -L lists them";
}

}  // namespace

const DriverAnswer& driver_answer() {
  static const DriverAnswer answer = ask();
  return answer;
}

const CudaBuild& cuda_build() {
  static const CudaBuild build = [] {
    CudaBuild made{.cuda_version = VMLA_TORCH_CUDA_VERSION, .architectures = {}};
    const std::string_view list = VMLA_CUDA_ARCHITECTURES;
    for (size_t begin = 0; begin < list.size();) {
      const size_t end = std::min(list.find(',', begin), list.size());
      made.architectures.emplace_back(list.substr(begin, end - begin));
      begin = end + 1;
    }
    return made;
  }();
  return build;
}

bool has_kernels_for(int major, int minor, const std::vector<std::string>& architectures) {
  return std::ranges::any_of(architectures, [=](const std::string& architecture) {
    int number = 0;
    const char* const end = architecture.data() + architecture.size();
    const auto [rest, problem] = std::from_chars(architecture.data(), end, number);
    if (problem != std::errc())
      return true;  // "native" and the like: the check of the kernels will say
    const std::string_view suffix(rest, static_cast<size_t>(end - rest));
    const int asked = 10 * major + minor;
    if (suffix.starts_with("-real")) return number / 10 == major && number <= asked;
    const bool bound = !suffix.empty() && !suffix.starts_with("-");
    return bound ? number == asked : number <= asked;
  });
}

std::string why_no_gpu(const DriverAnswer& driver, const CudaBuild& build, const char* visible) {
  if (!driver.library) return "no NVIDIA driver is installed (libcuda.so.1)";
  if (!driver.answers) return {};
  const int needed = build.cuda_version / 1000, served = driver.cuda_version / 1000;
  // Within a major version every driver serves every minor one (CUDA Compatibility, "Minor Version
  // Compatibility").
  if (driver.cuda_version > 0 && served < needed) {
    return "the NVIDIA driver serves CUDA " + version_text(driver.cuda_version) +
           " at most, and this build needs " + std::to_string(needed) +
           ".0 or later: install a newer driver";
  }
  if (driver.init_status == kSystemNotReady) {
    return "the driver is not ready (status 802): on a machine with NVSwitch the service "
           "nvidia-fabricmanager must run, in the driver's own version";
  }
  if (driver.init_status != 0 && driver.init_status != kNoDevice) {
    return "the NVIDIA driver does not start (cuInit: status " +
           std::to_string(driver.init_status) +
           "); nvidia-smi says more, and a driver that was updated needs a restart";
  }
  if (driver.gpus.empty()) return none_visible(visible);
  const auto usable = [&](const DriverGpu& gpu) { return may_have_kernels(gpu, build); };
  if (std::ranges::none_of(driver.gpus, usable)) return no_kernels(driver.gpus.front(), build);
  return {};
}

std::string why_gpu_unusable(const DriverAnswer& driver, const CudaBuild& build, int64_t index) {
  if (index < 0 || index >= static_cast<int64_t>(driver.gpus.size())) return {};
  const DriverGpu& gpu = driver.gpus[static_cast<size_t>(index)];
  if (may_have_kernels(gpu, build)) return {};
  return no_kernels(gpu, build);
}

}  // namespace vmla::kernels
