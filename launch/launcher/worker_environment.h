#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

/// The environment variables that torchrun promises to its workers, as vmla-launch sets them.
namespace vmla::launch {

/// From node 0: start the workers. Holds what all nodes must know alike for this attempt.
struct StartOrder {
  std::string run_id;
  int64_t attempt = 0;  // 0, and one more after each restart
  int64_t max_restarts = 0;
  std::vector<int64_t> workers_per_node;
  // Where rank 0 serves the store at which the ranks meet.
  std::string master_addr;
  int64_t master_port = 0;

  int64_t world_size() const;
  /// The rank of a node's first worker.
  int64_t first_rank(int64_t node) const;
};

/// The variable that tells rank 0 the number of the inherited descriptor: a socket that is bound to
/// MASTER_PORT.
inline constexpr char kListenFdVariable[] = "VMLA_STORE_LISTEN_FD";

/// The variables that are set for worker `local_rank` of `node`; one with an empty value is taken
/// away. `get` reads the launcher's own environment: OMP_NUM_THREADS, OMP_WAIT_POLICY and
/// TORCH_NCCL_ASYNC_ERROR_HANDLING are left as the user has set them there. `listen_fd` is -1 for
/// any rank but 0.
std::map<std::string, std::string> worker_environment(
    const StartOrder& order,
    int64_t node,
    int64_t local_rank,
    const std::string& error_file,
    int listen_fd,
    const std::function<const char*(const char*)>& get);

}  // namespace vmla::launch
