#include "launch/launcher/worker_environment.h"

#include <numeric>

#include "launch/launcher/peer_proof.h"

namespace vmla::launch {

int64_t StartOrder::world_size() const {
  return std::accumulate(workers_per_node.begin(), workers_per_node.end(), int64_t{0});
}

int64_t StartOrder::first_rank(int64_t node) const {
  return std::accumulate(workers_per_node.begin(), workers_per_node.begin() + node, int64_t{0});
}

std::map<std::string, std::string> worker_environment(
    const StartOrder& order,
    int64_t node,
    int64_t local_rank,
    const std::string& error_file,
    int listen_fd,
    const std::function<const char*(const char*)>& get) {
  const int64_t local_world_size = order.workers_per_node[static_cast<size_t>(node)];
  const std::string rank = std::to_string(order.first_rank(node) + local_rank);
  const std::string world_size = std::to_string(order.world_size());
  std::map<std::string, std::string> out = {
      {"RANK", rank},
      {"WORLD_SIZE", world_size},
      {"LOCAL_RANK", std::to_string(local_rank)},
      {"LOCAL_WORLD_SIZE", std::to_string(local_world_size)},
      {"GROUP_RANK", std::to_string(node)},
      {"GROUP_WORLD_SIZE", std::to_string(order.workers_per_node.size())},
      {"ROLE_NAME", "default"},
      {"ROLE_RANK", rank},
      {"ROLE_WORLD_SIZE", world_size},
      {"MASTER_ADDR", order.master_addr},
      {"MASTER_PORT", std::to_string(order.master_port)},
      {"TORCHELASTIC_RESTART_COUNT", std::to_string(order.attempt)},
      {"TORCHELASTIC_MAX_RESTARTS", std::to_string(order.max_restarts)},
      {"TORCHELASTIC_RUN_ID", order.run_id},
      {"TORCHELASTIC_USE_AGENT_STORE", "False"},  // rank 0 serves
      {"TORCHELASTIC_ERROR_FILE", error_file},
      {kTokenVariable, ""},  // a secret of the launchers
      {kListenFdVariable, listen_fd < 0 ? "" : std::to_string(listen_fd)},
  };
  const auto unless_set = [&](const char* name, const char* value) {
    if (get(name) == nullptr) out[name] = value;
  };
  unless_set("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1");
  // Several processes that each use all cores slow each other down, and idle OpenMP threads that
  // spin take the cores from other ranks.
  if (local_world_size > 1) unless_set("OMP_NUM_THREADS", "1");
  unless_set("OMP_WAIT_POLICY", "PASSIVE");
  return out;
}

}  // namespace vmla::launch
