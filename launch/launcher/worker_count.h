#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace vmla::launch {

/// More than any machine has, and any job: what is beyond is a mistake, or no launcher's message.
inline constexpr int64_t kMostWorkers = 4096;  // on a node
inline constexpr int64_t kMostNodes = 4096;

/// How many workers `--nproc-per-node` means: "N", "cpu" (one for each core that this process may
/// use) or "gpu" (one for each GPU: those that CUDA sees with this CUDA_VISIBLE_DEVICES, or where
/// it is null the files nvidia0, nvidia1, ... in `devices`). UserError where the text is none of
/// these, or there is no GPU.
int64_t count_workers(const std::string& text,
                      const char* cuda_visible_devices,
                      const std::filesystem::path& devices = "/dev");

}  // namespace vmla::launch
