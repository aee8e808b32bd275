#include "launch/launcher/worker_count.h"

#include <algorithm>

#include "launch/launcher/cpu_binding.h"
#include "launch/options/parse_number.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

constexpr int64_t kMostWorkers = 4096;

int64_t count_device_files(const std::filesystem::path& devices) {
  const std::string prefix = "nvidia";
  int64_t count = 0;
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator(devices, unreadable)) {
    const std::string name = entry.path().filename().string();
    // Beside nvidia0 there are nvidiactl, nvidia-uvm and others.
    if (name.starts_with(prefix) && parse_number<uint32_t>(name.substr(prefix.size()))) ++count;
  }
  return count;
}

int64_t count_gpus(const std::string& cuda_visible_devices, const std::filesystem::path& devices) {
  if (!cuda_visible_devices.empty()) {
    return 1 + std::count(cuda_visible_devices.begin(), cuda_visible_devices.end(), ',');
  }
  const int64_t count = count_device_files(devices);
  if (count == 0) {
    fail_user(
        "--nproc-per-node gpu: {} has no nvidia0; give a number, or cpu for one process a core",
        devices.string());
  }
  return count;
}

}  // namespace

int64_t count_workers(const std::string& text,
                      const char* cuda_visible_devices,
                      const std::filesystem::path& devices) {
  if (text == "cpu") return static_cast<int64_t>(usable_cpus().size());
  if (text == "gpu") {
    return count_gpus(cuda_visible_devices == nullptr ? "" : cuda_visible_devices, devices);
  }
  const auto count = parse_number<int64_t>(text);
  if (!count || *count < 1 || *count > kMostWorkers) {
    fail_user("--nproc-per-node {}: give a number from 1 to {}, cpu or gpu", text, kMostWorkers);
  }
  return *count;
}

}  // namespace vmla::launch
