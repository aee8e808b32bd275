// One parser for every starter's variables: a table of environments.
#include "trainer/distributed/job/rank_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "model/io/error.h"

namespace vmla::distributed {
namespace {

using ::testing::HasSubstr;
using Table = std::map<std::string, std::string>;

RankEnvironment parse(const Table& table) {
  return parse_rank_environment([&](const char* name) -> const char* {
    const auto found = table.find(name);
    return found == table.end() ? nullptr : found->second.c_str();
  });
}

Table operator+(Table left, const Table& right) {
  for (const auto& [name, value] : right) left[name] = value;
  return left;
}

Table without(Table table, const std::string& name) {
  table.erase(name);
  return table;
}

const Table kTorchrun = {{"RANK", "5"},
                         {"WORLD_SIZE", "8"},
                         {"LOCAL_RANK", "1"},
                         {"LOCAL_WORLD_SIZE", "4"},
                         {"GROUP_RANK", "1"},
                         {"GROUP_WORLD_SIZE", "2"},
                         {"ROLE_RANK", "5"},
                         {"ROLE_WORLD_SIZE", "8"},
                         {"ROLE_NAME", "default"},
                         {"MASTER_ADDR", "node0"},
                         {"MASTER_PORT", "29500"},
                         {"TORCHELASTIC_RESTART_COUNT", "2"},
                         {"TORCHELASTIC_MAX_RESTARTS", "3"},
                         {"TORCHELASTIC_RUN_ID", "abc"},
                         {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                         {"TORCHELASTIC_ERROR_FILE", "logs/error.json"}};
const Table kSlurm = {{"SLURM_PROCID", "9"},
                      {"SLURM_LOCALID", "1"},
                      {"SLURM_NTASKS", "32"},
                      {"SLURM_NODEID", "1"},
                      {"SLURM_TASKS_PER_NODE", "8(x4)"},
                      {"SLURM_JOB_NODELIST", "n[01-04,7]"},
                      {"SLURM_JOB_ID", "1234567"}};
const Table kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                        {"OMPI_COMM_WORLD_SIZE", "4"},
                        {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                        {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                        {"MASTER_ADDR", "node0"},
                        {"MASTER_PORT", "29500"}};

TEST(RankEnvironment, Torchrun) {
  const RankEnvironment ranks = parse(kTorchrun);
  EXPECT_EQ(ranks.rank, 5);
  EXPECT_EQ(ranks.world_size, 8);
  EXPECT_EQ(ranks.local_rank, 1);
  EXPECT_EQ(ranks.local_world_size, 4);
  EXPECT_EQ(ranks.node, 1);
  EXPECT_EQ(ranks.nodes, 2);
  EXPECT_EQ(ranks.master_addr, "node0");
  EXPECT_EQ(ranks.master_port, 29500);
  EXPECT_EQ(ranks.restart_count, 2);
  EXPECT_EQ(ranks.max_restarts, 3);
  EXPECT_EQ(ranks.run_id, "abc");
  EXPECT_TRUE(ranks.use_agent_store);
  EXPECT_EQ(ranks.listen_fd, -1);
  EXPECT_EQ(ranks.error_file, "logs/error.json");
  // torchrun compares the text: "true" and "1" mean that rank 0 serves.
  EXPECT_FALSE(parse(kTorchrun + Table{{"TORCHELASTIC_USE_AGENT_STORE", "true"}}).use_agent_store);
  EXPECT_EQ(parse(kTorchrun + Table{{"VMLA_STORE_LISTEN_FD", "7"}}).listen_fd, 7);
}

TEST(RankEnvironment, FourVariablesAreEnough) {
  const RankEnvironment ranks = parse(
      {{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "localhost"}, {"MASTER_PORT", "1234"}});
  EXPECT_EQ(ranks.local_rank, 1);
  EXPECT_EQ(ranks.local_world_size, 2);
  EXPECT_EQ(ranks.node, 0);
  EXPECT_EQ(ranks.nodes, 1);
  EXPECT_EQ(ranks.error_file, "");
}

TEST(RankEnvironment, AloneIsRankZeroOfOne) {
  for (const Table& table : {Table{},
                             Table{{"RANK", ""}, {"WORLD_SIZE", ""}, {"SLURM_PROCID", ""}},
                             Table{{"MASTER_ADDR", "ignored"}},
                             // The shell of a batch script: a process of SLURM's, but no task.
                             kSlurm + Table{{"SLURM_STEP_ID", "4294967291"}}}) {
    const RankEnvironment ranks = parse(table);
    EXPECT_EQ(ranks.rank, 0);
    EXPECT_EQ(ranks.world_size, 1);
    EXPECT_EQ(ranks.local_world_size, 1);
    EXPECT_EQ(ranks.nodes, 1);
    EXPECT_EQ(ranks.master_addr, "");
  }
  EXPECT_EQ(parse({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).world_size, 1);  // no MASTER_ADDR needed
}

TEST(RankEnvironment, Slurm) {
  const RankEnvironment ranks = parse(kSlurm + Table{{"SLURM_RESTART_COUNT", "2"}});
  EXPECT_EQ(ranks.rank, 9);
  EXPECT_EQ(ranks.world_size, 32);
  EXPECT_EQ(ranks.local_rank, 1);
  EXPECT_EQ(ranks.local_world_size, 8);
  EXPECT_EQ(ranks.node, 1);
  EXPECT_EQ(ranks.nodes, 4);
  EXPECT_EQ(ranks.master_addr, "n01");
  EXPECT_EQ(ranks.restart_count, 2);
  EXPECT_EQ(ranks.run_id, "1234567");
  // The same on every rank, unlike for another job or step.
  EXPECT_GE(ranks.master_port, 15000);
  EXPECT_LT(ranks.master_port, 25000);
  EXPECT_EQ(parse(kSlurm + Table{{"SLURM_PROCID", "8"}, {"SLURM_LOCALID", "0"}}).master_port,
            ranks.master_port);
  EXPECT_NE(parse(kSlurm + Table{{"SLURM_JOB_ID", "1234568"}}).master_port, ranks.master_port);
  EXPECT_NE(parse(kSlurm + Table{{"SLURM_STEP_ID", "1"}}).master_port, ranks.master_port);
  // What the user sets wins.
  const RankEnvironment own = parse(kSlurm + Table{{"MASTER_ADDR", "x"}, {"MASTER_PORT", "99"}});
  EXPECT_EQ(own.master_addr, "x");
  EXPECT_EQ(own.master_port, 99);
}

TEST(RankEnvironment, SlurmTasksPerNode) {
  struct Case {
    std::string ntasks, per_node, node;
    int64_t local_world_size, nodes;
  };
  for (const Case& c : std::vector<Case>{{"10", "4,3(x2)", "0", 4, 3},
                                         {"10", "4,3(x2)", "2", 3, 3},
                                         {"2", "2", "0", 2, 1},
                                         {"13", "2(x3),7", "3", 7, 4}}) {
    const RankEnvironment ranks = parse(kSlurm + Table{{"SLURM_NTASKS", c.ntasks},
                                                       {"SLURM_PROCID", "0"},
                                                       {"SLURM_LOCALID", "0"},
                                                       {"SLURM_TASKS_PER_NODE", c.per_node},
                                                       {"SLURM_NODEID", c.node}});
    EXPECT_EQ(ranks.local_world_size, c.local_world_size) << c.per_node;
    EXPECT_EQ(ranks.nodes, c.nodes) << c.per_node;
  }
  // A step of srun's may be smaller than its job.
  const RankEnvironment step = parse(kSlurm + Table{{"SLURM_NTASKS", "16"},
                                                    {"SLURM_STEP_TASKS_PER_NODE", "8(x2)"},
                                                    {"SLURM_STEP_NODELIST", "n[03-04]"}});
  EXPECT_EQ(step.nodes, 2);
  EXPECT_EQ(step.master_addr, "n03");
  const RankEnvironment counted =
      parse(without(kSlurm, "SLURM_TASKS_PER_NODE") + Table{{"SLURM_NNODES", "4"}});
  EXPECT_EQ(counted.local_world_size, 8);
}

TEST(RankEnvironment, OpenMpi) {
  const RankEnvironment ranks = parse(kOpenMpi);
  EXPECT_EQ(ranks.rank, 3);
  EXPECT_EQ(ranks.world_size, 4);
  EXPECT_EQ(ranks.local_rank, 1);
  EXPECT_EQ(ranks.local_world_size, 2);
  EXPECT_EQ(ranks.node, 1);
  EXPECT_EQ(ranks.nodes, 2);
}

TEST(RankEnvironment, TheInnermostStarterWins) {
  EXPECT_EQ(parse(kSlurm + kOpenMpi).rank, 3);              // mpirun in an allocation
  EXPECT_EQ(parse(kSlurm + kOpenMpi + kTorchrun).rank, 5);  // vmla-launch in a task
}

TEST(RankEnvironment, FirstHost) {
  for (const auto& [list, host] : Table{{"n[01-04,7]", "n01"},
                                        {"n[7,01-04]", "n7"},
                                        {"node3", "node3"},
                                        {"a,b[1-2]", "a"},
                                        {"rack[1-2]n[03,4]x,b", "rack1n03x"},
                                        {"gpu-[008-015].cluster", "gpu-008.cluster"}}) {
    EXPECT_EQ(first_host(list, "SLURM_JOB_NODELIST"), host);
  }
}

TEST(RankEnvironment, ContradictionsAreOneLine) {
  struct Case {
    Table table;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases = {
      {without(kTorchrun, "WORLD_SIZE"), {"RANK=5", "WORLD_SIZE is not"}},
      {without(kTorchrun, "RANK"), {"WORLD_SIZE=8", "RANK is not"}},
      {kTorchrun + Table{{"RANK", "8"}}, {"RANK=8", "WORLD_SIZE=8"}},
      {kTorchrun + Table{{"RANK", "two"}}, {"RANK=two", "not an integer"}},
      {kTorchrun + Table{{"RANK", "-1"}}, {"RANK=-1", "not an integer from 0"}},
      {kTorchrun + Table{{"RANK", "1.0"}}, {"RANK=1.0"}},
      {kTorchrun + Table{{"WORLD_SIZE", "99999999999999999999"}}, {"WORLD_SIZE=9"}},
      {kTorchrun + Table{{"WORLD_SIZE", "0"}}, {"WORLD_SIZE=0"}},
      {kTorchrun + Table{{"LOCAL_RANK", "4"}}, {"LOCAL_RANK=4", "LOCAL_WORLD_SIZE=4"}},
      {kTorchrun + Table{{"LOCAL_WORLD_SIZE", "9"}}, {"LOCAL_WORLD_SIZE=9", "WORLD_SIZE=8"}},
      {kTorchrun + Table{{"GROUP_RANK", "2"}}, {"GROUP_RANK=2", "GROUP_WORLD_SIZE=2"}},
      {without(kTorchrun, "MASTER_ADDR"), {"MASTER_ADDR is not set", "8 ranks"}},
      {without(kTorchrun, "MASTER_PORT"), {"MASTER_PORT is not set"}},
      {kTorchrun + Table{{"MASTER_PORT", "70000"}}, {"MASTER_PORT=70000", "65535"}},
      {kTorchrun + Table{{"LOCAL_WORLD_SIZE", "0"}}, {"LOCAL_WORLD_SIZE=0"}},
      {without(kSlurm, "SLURM_LOCALID"), {"SLURM_PROCID=9", "SLURM_LOCALID is not"}},
      {kSlurm + Table{{"SLURM_NTASKS", "31"}}, {"8(x4)", "32", "31"}},
      {kSlurm + Table{{"SLURM_NODEID", "4"}}, {"SLURM_NODEID=4"}},
      {kSlurm + Table{{"SLURM_LOCALID", "8"}}, {"SLURM_LOCALID=8"}},
      {kSlurm + Table{{"SLURM_TASKS_PER_NODE", "8(x4"}}, {"8(x4", "')'"}},
      {kSlurm + Table{{"SLURM_TASKS_PER_NODE", "8,"}}, {"SLURM_TASKS_PER_NODE"}},
      {kSlurm + Table{{"SLURM_JOB_NODELIST", "n[01-04"}}, {"n[01-04", "']'"}},
      {without(kSlurm, "SLURM_JOB_NODELIST"), {"MASTER_ADDR is not set"}},
      {without(kSlurm, "SLURM_JOB_ID"), {"MASTER_PORT is not set"}},
      {without(kOpenMpi, "OMPI_COMM_WORLD_SIZE"), {"OMPI_COMM_WORLD_SIZE is not"}},
      {without(kOpenMpi, "MASTER_ADDR"), {"MASTER_ADDR is not set", "4 ranks"}},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    try {
      parse(cases[i].table);
      ADD_FAILURE() << "case " << i << " was not refused";
    } catch (const UserError& error) {
      const std::string said = error.what();
      EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 0) << said;
      for (const auto& part : cases[i].says) EXPECT_THAT(said, HasSubstr(part)) << "case " << i;
    }
  }
}

}  // namespace
}  // namespace vmla::distributed
