#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

/// torchrun's environment contract, as vmla-launch fulfils it for each worker.
namespace vmla::launch {

/// All that the nodes must agree on for one start of all workers. Node 0 decides it.
struct StartOrder {
  std::string run_id;
  int64_t attempt = 0;
  int64_t max_restarts = 0;
  std::vector<int64_t> workers_per_node;
  std::string master_addr;
  int64_t master_port = 0;

  int64_t world_size() const;
  /// The rank of a node's first worker.
  int64_t first_rank(int64_t node) const;
};

/// The variable with which rank 0 inherits the bound socket of MASTER_PORT.
inline constexpr char kListenFdVariable[] = "VMLA_STORE_LISTEN_FD";

/// What is set for worker `local_rank` of `node`; an empty value means that the variable is taken
/// away. `get` reads the launcher's own environment: what the user has set there of
/// OMP_NUM_THREADS, OMP_WAIT_POLICY and TORCH_NCCL_ASYNC_ERROR_HANDLING stays. `listen_fd` below 0:
/// none.
std::map<std::string, std::string> worker_environment(
    const StartOrder& order,
    int64_t node,
    int64_t local_rank,
    const std::string& error_file,
    int listen_fd,
    const std::function<const char*(const char*)>& get);

}  // namespace vmla::launch
