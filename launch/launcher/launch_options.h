#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launch/launcher/cpu_binding.h"
#include "launch/launcher/endpoint.h"

/// The command line of `vmla-launch`.
namespace vmla::launch {

/// What it asks for.
struct LaunchOptions {
  int64_t workers = 1;  // on this node
  int64_t nodes = 1;
  int64_t node = 0;                  // which of them this is
  std::optional<Endpoint> endpoint;  // where node 0's launcher listens; none on one node
  int64_t max_restarts = 0;
  std::filesystem::path log_dir;  // empty: no log files
  CpuBinding cpu_binding = CpuBinding::kNone;
  std::chrono::milliseconds grace{10'000};                // from SIGTERM to SIGKILL
  std::chrono::milliseconds rendezvous_timeout{300'000};  // until all nodes must have joined
  std::chrono::milliseconds heartbeat_timeout{10'000};    // a node silent for longer is lost
  std::string token;                                      // of the job (peer_proof.h); "": none
  std::vector<std::string> program;                       // with its arguments
};

/// A text to print (--help, --version), or what to do.
struct LaunchRequest {
  std::optional<std::string> text;
  LaunchOptions options;
};

/// Parses argv. UserError: one line that names the option and says what is valid.
LaunchRequest parse_launch_options(int argc, const char* const* argv);

}  // namespace vmla::launch
