#pragma once

#include <cstdint>
#include <functional>
#include <string>

/// Where a process stands among those of its job, as whoever started it says in the environment.
namespace vmla::distributed {

struct RankEnvironment {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;  // on its node
  int64_t local_world_size = 1;
  int64_t node = 0;
  int64_t nodes = 1;
  std::string master_addr;  // where rank 0 is reached; empty when one process was started alone
  int64_t master_port = 0;
  int64_t restart_count = 0;  // how often all ranks were started again
  int64_t max_restarts = 0;
  std::string run_id;            // the same on all ranks; empty when nobody gave one
  bool use_agent_store = false;  // the launcher serves the store and every rank is a client
  int listen_fd = -1;            // rank 0: a listening socket on master_port that it inherited
  std::string error_file;        // where torchrun's error.json goes; empty: nowhere
};

/// std::getenv or a table: the value of a variable, or null.
using GetEnvironment = std::function<const char*(const char* name)>;

/// Reads torchrun's variables (RANK, WORLD_SIZE, ...; also written by vmla-launch), else OpenMPI's
/// (OMPI_COMM_WORLD_RANK, ...), else those of SLURM's srun (SLURM_PROCID, ...). With none of them
/// this is one process: rank 0 of 1. An empty variable counts as unset.
/// OpenMPI comes before SLURM because mpirun in a SLURM allocation hands on the variables of the
/// one task that it runs in. MASTER_ADDR and MASTER_PORT win over what is derived under SLURM: the
/// first host of the node list, and a port from the job's number.
/// UserError, in one line, where variables are missing, contradict each other or are no numbers.
RankEnvironment parse_rank_environment(const GetEnvironment& get);

/// parse_rank_environment of this process's environment.
RankEnvironment rank_environment();

/// The first host of SLURM's compressed list: "n[01-04,7],m" -> "n01". UserError names `variable`.
std::string first_host(const std::string& node_list, const std::string& variable);

}  // namespace vmla::distributed
