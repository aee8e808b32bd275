#pragma once

#include <cstdint>
#include <functional>
#include <string>

/// Where a process stands among those of its job, as whoever started it says in the environment.
namespace vmla::distributed {

/// Ranks count from 0 over the job, local ranks over a node (one machine, or the part of it that
/// one launcher has).
struct RankEnvironment {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;
  int64_t local_world_size = 1;
  int64_t node = 0;
  int64_t nodes = 1;
  /// Where rank 0 is reached: a name or an address; empty when one process was started alone.
  std::string master_addr;
  int64_t master_port = 0;
  /// How often the launcher has started all ranks again, and how often it will.
  int64_t restart_count = 0;
  int64_t max_restarts = 0;
  /// Tells jobs apart: the same on all ranks; empty when nobody gave one.
  std::string run_id;
  /// The launcher serves the store, and every rank is a client; else rank 0 serves it.
  bool use_agent_store = false;
  /// Rank 0 under vmla-launch: a socket bound to master_port that it inherited; else -1.
  int listen_fd = -1;
  /// Where torchrun's error.json goes; empty: nowhere.
  std::string error_file;
};

/// The value of a variable, or null: std::getenv, or a test's table.
using GetEnvironment = std::function<const char*(const char* name)>;

/// Reads torchrun's variables (RANK, WORLD_SIZE, ...; vmla-launch sets them too), else OpenMPI's
/// (OMPI_COMM_WORLD_RANK, ...), else those of SLURM's srun (SLURM_PROCID, ...). With none of them
/// this is one process: rank 0 of 1. An empty variable counts as unset.
///
/// OpenMPI comes before SLURM because every process of an mpirun in a SLURM allocation sees the
/// variables of the one SLURM task that mpirun itself is. Under SLURM the address of rank 0 is the
/// first host of the node list and its port follows from the job's number, unless MASTER_ADDR and
/// MASTER_PORT are set.
///
/// UserError, in one line, where variables are missing, contradict each other or are no numbers.
RankEnvironment parse_rank_environment(const GetEnvironment& get);

/// The same of this process's environment.
RankEnvironment rank_environment();

/// The first host of SLURM's compressed list `node_list`: "n[01-04,7],m" -> "n01". UserError names
/// the `variable` that the list comes from.
std::string first_host(const std::string& node_list, const std::string& variable);

}  // namespace vmla::distributed
