#include "launch/launcher/worker_count.h"

#include <algorithm>
#include <set>

#include "launch/launcher/cpu_binding.h"
#include "launch/options/parse_number.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

int64_t count_device_files(const std::filesystem::path& devices) {
  const std::string prefix = "nvidia";
  int64_t count = 0;
  std::error_code unreadable;
  std::filesystem::directory_iterator entry(devices, unreadable);
  for (; !unreadable && entry != std::filesystem::directory_iterator();
       entry.increment(unreadable)) {
    const std::string name = entry->path().filename().string();
    // Beside nvidia0 there are nvidiactl, nvidia-uvm and others.
    if (name.starts_with(prefix) && parse_number<uint32_t>(name.substr(prefix.size()))) ++count;
  }
  return count;
}

std::string without_blanks(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// An index, or the name of a GPU or of a part of one ("GPU-8932...", "MIG-...").
bool names_gpu(const std::string& word) {
  return parse_number<uint32_t>(word) || word.starts_with("GPU-") || word.starts_with("MIG-");
}

/// The GPUs that CUDA sees with this CUDA_VISIBLE_DEVICES: those before the first word that names
/// none, such as -1 (CUDA C++ Programming Guide, "CUDA Environment Variables").
int64_t count_visible(const std::string& list) {
  std::set<std::string> seen;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const std::string word = without_blanks(list.substr(begin, end - begin));
    if (!names_gpu(word)) break;
    if (!seen.insert(word).second) {
      fail_user(
          "--nproc-per-node gpu: CUDA_VISIBLE_DEVICES={} names {} twice, and CUDA then sees no GPU",
          list,
          word);
    }
    begin = end + 1;
  }
  if (seen.empty()) {
    fail_user(
        "--nproc-per-node gpu: CUDA_VISIBLE_DEVICES={} hides all GPUs; unset it or name some, or "
        "give a number, or cpu for one process a core",
        list);
  }
  return static_cast<int64_t>(seen.size());
}

int64_t count_gpus(const char* cuda_visible_devices, const std::filesystem::path& devices) {
  if (cuda_visible_devices != nullptr) return count_visible(cuda_visible_devices);
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
    return count_gpus(cuda_visible_devices, devices);
  }
  const auto count = parse_number<int64_t>(text);
  if (!count || *count < 1 || *count > kMostWorkers) {
    fail_user("--nproc-per-node {}: give a number from 1 to {}, cpu or gpu", text, kMostWorkers);
  }
  return *count;
}

}  // namespace vmla::launch
