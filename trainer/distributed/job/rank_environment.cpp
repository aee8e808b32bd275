#include "trainer/distributed/job/rank_environment.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "model/io/error.h"

namespace vmla::distributed {
namespace {

/// Reads a whole number from 0; `where` is the variable that it comes from.
int64_t integer(const std::string& text, const std::string& where) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) {
    fail_user("{}={} in the environment: not an integer from 0", where, text);
  }
  return value;
}

/// The environment's variables; what is empty counts as unset.
class Variables {
 public:
  explicit Variables(const GetEnvironment& get) : get_(get) {}

  std::string text(const std::string& name) const {
    const char* value = get_(name.c_str());
    return value == nullptr ? "" : value;
  }
  bool has(const std::string& name) const { return !text(name).empty(); }
  std::optional<int64_t> number(const std::string& name) const {
    const std::string value = text(name);
    if (value.empty()) return std::nullopt;
    return integer(value, name);
  }
  /// The first of `names` that is set, with its value.
  std::pair<std::string, std::string> first(const std::vector<std::string>& names) const {
    for (const auto& name : names) {
      if (has(name)) return {name, text(name)};
    }
    return {};
  }
  /// The number in `name`. Fails when it is unset: whoever sets `other` sets both.
  int64_t beside(const std::string& other, const std::string& name) const {
    if (!has(name)) {
      fail_user("{}={} is set in the environment, {} is not; set both, or neither for one process",
                other,
                text(other),
                name);
    }
    return integer(text(name), name);
  }

 private:
  const GetEnvironment& get_;
};

/// Fails unless 0 <= index < count; both are named as in the environment.
void check_index(const std::string& index_name,
                 int64_t index,
                 const std::string& count_name,
                 int64_t count) {
  if (index >= count) {
    fail_user("{}={} does not fit {}={}: it must be from 0 to {} - 1",
              index_name,
              index,
              count_name,
              count,
              count_name);
  }
}

/// Where rank 0 is reached: overrides what was derived, and must be there for several ranks.
void read_master(const Variables& variables, RankEnvironment& out) {
  if (variables.has("MASTER_ADDR")) out.master_addr = variables.text("MASTER_ADDR");
  if (const auto port = variables.number("MASTER_PORT")) out.master_port = *port;
  if (out.master_port > 65535) {
    fail_user("MASTER_PORT={} in the environment: ports end at 65535", out.master_port);
  }
  if (out.world_size == 1) return;
  for (const auto& [name, missing] : {std::pair{"MASTER_ADDR", out.master_addr.empty()},
                                      std::pair{"MASTER_PORT", out.master_port == 0}}) {
    if (missing) {
      fail_user(
          "{} is not set, but there are {} ranks; set MASTER_ADDR and MASTER_PORT to where rank 0 "
          "can be reached, or start with vmla-launch, which does",
          name,
          out.world_size);
    }
  }
}

RankEnvironment torchrun(const Variables& variables) {
  RankEnvironment out;
  out.rank = variables.beside("WORLD_SIZE", "RANK");
  out.world_size = variables.beside("RANK", "WORLD_SIZE");
  check_index("RANK", out.rank, "WORLD_SIZE", out.world_size);
  // Whoever sets only four variables by hand (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) means one
  // node.
  out.local_world_size = variables.number("LOCAL_WORLD_SIZE").value_or(out.world_size);
  out.local_rank = variables.number("LOCAL_RANK")
                       .value_or(out.rank % std::max<int64_t>(out.local_world_size, 1));
  check_index("LOCAL_RANK", out.local_rank, "LOCAL_WORLD_SIZE", out.local_world_size);
  if (out.local_world_size > out.world_size) {
    fail_user("LOCAL_WORLD_SIZE={} is more than WORLD_SIZE={} in the environment",
              out.local_world_size,
              out.world_size);
  }
  out.nodes = variables.number("GROUP_WORLD_SIZE")
                  .value_or((out.world_size + out.local_world_size - 1) / out.local_world_size);
  out.node = variables.number("GROUP_RANK").value_or(out.rank / out.local_world_size);
  check_index("GROUP_RANK", out.node, "GROUP_WORLD_SIZE", out.nodes);
  out.restart_count = variables.number("TORCHELASTIC_RESTART_COUNT").value_or(0);
  out.max_restarts = variables.number("TORCHELASTIC_MAX_RESTARTS").value_or(0);
  out.run_id = variables.text("TORCHELASTIC_RUN_ID");
  out.use_agent_store = variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  out.listen_fd = static_cast<int>(variables.number("VMLA_STORE_LISTEN_FD").value_or(-1));
  read_master(variables, out);
  return out;
}

RankEnvironment open_mpi(const Variables& variables) {
  RankEnvironment out;
  out.rank = variables.beside("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK");
  out.world_size = variables.beside("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  check_index("OMPI_COMM_WORLD_RANK", out.rank, "OMPI_COMM_WORLD_SIZE", out.world_size);
  out.local_rank = variables.beside("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK");
  out.local_world_size = variables.beside("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE");
  check_index("OMPI_COMM_WORLD_LOCAL_RANK",
              out.local_rank,
              "OMPI_COMM_WORLD_LOCAL_SIZE",
              out.local_world_size);
  out.nodes = (out.world_size + out.local_world_size - 1) / out.local_world_size;
  out.node = out.rank / out.local_world_size;
  read_master(variables, out);
  return out;
}

/// Expands SLURM's list of the tasks on each node: "8(x4),3" -> 8, 8, 8, 8, 3.
std::vector<int64_t> tasks_per_node(const std::string& text, const std::string& variable) {
  std::vector<int64_t> out;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const size_t times = item.find("(x");
    int64_t repeat = 1;
    if (times != std::string::npos) {
      if (item.back() != ')') fail_user("{}={}: '{}' lacks its ')'", variable, text, item);
      repeat = integer(item.substr(times + 2, item.size() - times - 3), variable);
    }
    const int64_t tasks = integer(item.substr(0, times), variable);
    if (repeat > 1'000'000) fail_user("{}={}: more nodes than there can be", variable, text);
    out.insert(out.end(), static_cast<size_t>(repeat), tasks);
    begin = end + 1;
  }
  return out;
}

/// The tasks on this process's node, and how many nodes there are.
void read_slurm_nodes(const Variables& variables, RankEnvironment& out) {
  out.node = variables.number("SLURM_NODEID").value_or(0);
  const auto [name, text] = variables.first({"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"});
  if (!text.empty()) {
    const std::vector<int64_t> tasks = tasks_per_node(text, name);
    const int64_t sum = std::accumulate(tasks.begin(), tasks.end(), int64_t{0});
    if (sum != out.world_size) {
      fail_user("{}={} makes {} tasks, but SLURM_NTASKS is {}", name, text, sum, out.world_size);
    }
    out.nodes = static_cast<int64_t>(tasks.size());
    check_index("SLURM_NODEID", out.node, "nodes of " + name, out.nodes);
    out.local_world_size = tasks[static_cast<size_t>(out.node)];
  } else {
    out.nodes = variables.number("SLURM_NNODES").value_or(1);
    check_index("SLURM_NODEID", out.node, "SLURM_NNODES", out.nodes);
    if (out.world_size % out.nodes != 0) {
      fail_user(
          "SLURM_TASKS_PER_NODE is not set, and SLURM_NTASKS={} does not divide over "
          "SLURM_NNODES={}",
          out.world_size,
          out.nodes);
    }
    out.local_world_size = out.world_size / out.nodes;
  }
  check_index("SLURM_LOCALID", out.local_rank, "tasks of this node", out.local_world_size);
}

// The same on all ranks without asking anybody; below Linux's ephemeral ports (from 32768), and
// apart for jobs and for the steps of one job.
int64_t slurm_port(int64_t job, int64_t step) {
  return 15000 + (job + 1009 * step) % 10000;
}

// The shell of a batch script, or an interactive one, carries SLURM_PROCID=0 too but is no task of
// srun's. Its step has one of SLURM's reserved numbers (SLURM_BATCH_SCRIPT, _INTERACTIVE_STEP).
bool is_srun_task(const Variables& variables) {
  constexpr int64_t kFirstReservedStep = 0xfffffff0;
  return variables.has("SLURM_PROCID") && variables.has("SLURM_NTASKS") &&
         variables.number("SLURM_STEP_ID").value_or(0) < kFirstReservedStep;
}

RankEnvironment slurm(const Variables& variables) {
  RankEnvironment out;
  out.rank = *variables.number("SLURM_PROCID");
  out.world_size = *variables.number("SLURM_NTASKS");
  check_index("SLURM_PROCID", out.rank, "SLURM_NTASKS", out.world_size);
  out.local_rank = variables.beside("SLURM_PROCID", "SLURM_LOCALID");
  read_slurm_nodes(variables, out);
  out.restart_count = variables.number("SLURM_RESTART_COUNT").value_or(0);
  const auto [list, hosts] =
      variables.first({"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"});
  if (!hosts.empty()) out.master_addr = first_host(hosts, list);
  out.run_id = variables.text("SLURM_JOB_ID");
  if (const auto job = variables.number("SLURM_JOB_ID")) {
    out.master_port = slurm_port(*job, variables.number("SLURM_STEP_ID").value_or(0));
  }
  read_master(variables, out);
  return out;
}

}  // namespace

std::string first_host(const std::string& node_list, const std::string& variable) {
  std::string host;
  for (size_t i = 0; i < node_list.size() && node_list[i] != ','; ++i) {
    if (node_list[i] != '[') {
      host += node_list[i];
      continue;
    }
    const size_t close = node_list.find(']', i);
    if (close == std::string::npos) fail_user("{}={}: a '[' lacks its ']'", variable, node_list);
    host += node_list.substr(i + 1, node_list.find_first_of("-,]", i + 1) - i - 1);
    i = close;
  }
  if (host.empty()) fail_user("{}={}: names no host", variable, node_list);
  return host;
}

RankEnvironment parse_rank_environment(const GetEnvironment& get) {
  const Variables variables(get);
  RankEnvironment out;
  if (variables.has("RANK") || variables.has("WORLD_SIZE")) {
    out = torchrun(variables);
  } else if (variables.has("OMPI_COMM_WORLD_RANK") || variables.has("OMPI_COMM_WORLD_SIZE")) {
    out = open_mpi(variables);
  } else if (is_srun_task(variables)) {
    out = slurm(variables);
  }
  out.error_file = variables.text("TORCHELASTIC_ERROR_FILE");
  return out;
}

RankEnvironment rank_environment() {
  return parse_rank_environment([](const char* name) { return std::getenv(name); });
}

}  // namespace vmla::distributed
