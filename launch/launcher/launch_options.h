#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launch/launcher/cpu_binding.h"

/// What `vmla-launch` was asked to do.
namespace vmla::launch {

struct Endpoint {
  std::string host;
  int64_t port = 0;
};

struct LaunchOptions {
  int64_t workers = 1;  // on this node
  int64_t nodes = 1;
  int64_t node = 0;
  std::optional<Endpoint> endpoint;  // where node 0's launcher listens; none on one node
  int64_t max_restarts = 0;
  std::filesystem::path log_dir;  // empty: no log files
  CpuBinding cpu_binding = CpuBinding::kNone;
  std::chrono::milliseconds grace{10'000};                // from SIGTERM to SIGKILL
  std::chrono::milliseconds rendezvous_timeout{300'000};  // for all launchers to be there
  std::chrono::milliseconds heartbeat_timeout{10'000};    // a node silent for longer is lost
  std::vector<std::string> program;                       // and its arguments
};

/// A text to print (--help, --version), or what to do.
struct LaunchRequest {
  std::optional<std::string> text;
  LaunchOptions options;
};

/// Parses argv. UserError: one line that names the flag and says what is valid.
LaunchRequest parse_launch_options(int argc, const char* const* argv);

/// How many workers "N", "cpu" (cores this process may use) or "gpu" mean. GPUs are those that
/// CUDA_VISIBLE_DEVICES lists, else the files nvidia0, nvidia1, ... in `devices`. UserError where
/// the text is none of these or there is no GPU.
int64_t count_workers(const std::string& text,
                      const char* cuda_visible_devices,
                      const std::filesystem::path& devices = "/dev");

/// "host:port" or "[::1]:port". UserError otherwise.
Endpoint parse_endpoint(const std::string& text);

}  // namespace vmla::launch
