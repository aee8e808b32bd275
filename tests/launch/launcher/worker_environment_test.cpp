// What workers are started with: torchrun's variables, read back by our own parser; shares of CPUs.
#include "launch/launcher/worker_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "launch/launcher/cpu_binding.h"
#include "tests/support/temporary_folder.h"
#include "trainer/distributed/job/rank_environment.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Table = std::map<std::string, std::string>;

const StartOrder kOrder = {"run", 2, 5, {2, 3, 1}, "node0", 29512};

const char* nothing(const char*) {
  return nullptr;
}

TEST(WorkerEnvironment, EveryNameOfTorchrun) {
  const Table table = worker_environment(kOrder, 1, 2, "e.json", -1, nothing);
  const Table expected = {{"RANK", "4"},
                          {"WORLD_SIZE", "6"},
                          {"LOCAL_RANK", "2"},
                          {"LOCAL_WORLD_SIZE", "3"},
                          {"GROUP_RANK", "1"},
                          {"GROUP_WORLD_SIZE", "3"},
                          {"ROLE_NAME", "default"},
                          {"ROLE_RANK", "4"},
                          {"ROLE_WORLD_SIZE", "6"},
                          {"MASTER_ADDR", "node0"},
                          {"MASTER_PORT", "29512"},
                          {"TORCHELASTIC_RESTART_COUNT", "2"},
                          {"TORCHELASTIC_MAX_RESTARTS", "5"},
                          {"TORCHELASTIC_RUN_ID", "run"},
                          {"TORCHELASTIC_USE_AGENT_STORE", "False"},
                          {"TORCHELASTIC_ERROR_FILE", "e.json"},
                          {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"},
                          {"VMLA_RDZV_TOKEN", ""},
                          {"VMLA_STORE_LISTEN_FD", ""},
                          {"OMP_NUM_THREADS", "1"},
                          {"OMP_WAIT_POLICY", "PASSIVE"}};
  EXPECT_EQ(table, expected);
}

TEST(WorkerEnvironment, WhatTheUserSetStays) {
  const Table own = {{"OMP_NUM_THREADS", "7"}, {"OMP_WAIT_POLICY", "ACTIVE"}, {"RANK", "99"}};
  const Table table = worker_environment(kOrder, 0, 0, "", -1, [&](const char* name) {
    const auto found = own.find(name);
    return found == own.end() ? nullptr : found->second.c_str();
  });
  EXPECT_FALSE(table.contains("OMP_NUM_THREADS"));
  EXPECT_FALSE(table.contains("OMP_WAIT_POLICY"));
  EXPECT_EQ(table.at("RANK"), "0");
  // A process that is alone on its node may take all cores.
  EXPECT_FALSE(worker_environment(kOrder, 2, 0, "", -1, nothing).contains("OMP_NUM_THREADS"));
}

TEST(WorkerEnvironment, OurParserReadsIt) {
  int64_t rank = 0;
  for (int64_t node = 0; node < 3; ++node) {
    const int64_t workers = kOrder.workers_per_node[static_cast<size_t>(node)];
    for (int64_t local = 0; local < workers; ++local, ++rank) {
      const Table table =
          worker_environment(kOrder, node, local, "e.json", rank == 0 ? 9 : -1, nothing);
      const auto read = distributed::parse_rank_environment([&](const char* name) {
        const auto found = table.find(name);
        return found == table.end() ? nullptr : found->second.c_str();
      });
      EXPECT_EQ(read.rank, rank);
      EXPECT_EQ(read.world_size, 6);
      EXPECT_EQ(read.local_rank, local);
      EXPECT_EQ(read.local_world_size, workers);
      EXPECT_EQ(read.node, node);
      EXPECT_EQ(read.nodes, 3);
      EXPECT_EQ(read.master_addr, "node0");
      EXPECT_EQ(read.master_port, 29512);
      EXPECT_EQ(read.restart_count, 2);
      EXPECT_EQ(read.max_restarts, 5);
      EXPECT_EQ(read.run_id, "run");
      EXPECT_FALSE(read.use_agent_store);
      EXPECT_EQ(read.listen_fd, rank == 0 ? 9 : -1);
      EXPECT_EQ(read.error_file, "e.json");
    }
  }
}

// Two NUMA nodes of two cores with two threads each, numbered as Linux does: 4 to 7 are the second
// threads of 0 to 3.
std::vector<Cpu> eight_cpus() {
  std::vector<Cpu> out;
  for (int number = 0; number < 8; ++number) {
    out.push_back({number, number % 4 / 2, number % 4 / 2, number % 2});
  }
  return out;
}

TEST(CpuBinding, CoresKeepTheirThreadsTogether) {
  EXPECT_THAT(divide_cpus(eight_cpus(), 2, CpuBinding::kCores),
              ElementsAre(ElementsAre(0, 1, 4, 5), ElementsAre(2, 3, 6, 7)));
  EXPECT_THAT(
      divide_cpus(eight_cpus(), 4, CpuBinding::kCores),
      ElementsAre(ElementsAre(0, 4), ElementsAre(1, 5), ElementsAre(2, 6), ElementsAre(3, 7)));
  // Every CPU is somebody's, and nobody's twice.
  for (int64_t workers = 1; workers <= 8; ++workers) {
    std::multiset<int> all;
    for (const auto& share : divide_cpus(eight_cpus(), workers, CpuBinding::kCores)) {
      EXPECT_FALSE(share.empty());
      all.insert(share.begin(), share.end());
    }
    EXPECT_THAT(all, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7)) << workers;
  }
}

TEST(CpuBinding, MoreWorkersThanCpusTakeTurns) {
  EXPECT_THAT(divide_cpus({{3, 0, 0, 0}, {5, 0, 0, 1}}, 4, CpuBinding::kCores),
              ElementsAre(ElementsAre(3), ElementsAre(3), ElementsAre(5), ElementsAre(5)));
}

TEST(CpuBinding, NumaNodesStayWhole) {
  const std::vector<int> first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
  EXPECT_THAT(divide_cpus(eight_cpus(), 4, CpuBinding::kNuma),
              ElementsAre(first, first, second, second));
  EXPECT_THAT(divide_cpus(eight_cpus(), 2, CpuBinding::kNuma), ElementsAre(first, second));
  EXPECT_THAT(divide_cpus(eight_cpus(), 1, CpuBinding::kNuma),
              ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6, 7)));
}

TEST(CpuBinding, NoneLeavesWorkersWhereTheyAre) {
  EXPECT_THAT(divide_cpus(eight_cpus(), 2, CpuBinding::kNone), ElementsAre(IsEmpty(), IsEmpty()));
}

TEST(CpuBinding, TheSystemSaysWhereACpuIs) {
  namespace fs = std::filesystem;
  const TemporaryFolder folder;
  const fs::path& system = folder.path();
  fs::create_directories(system / "cpu/cpu5/topology");
  fs::create_directories(system / "cpu/cpu5/node1");
  std::ofstream(system / "cpu/cpu5/topology/core_id") << "17\n";
  std::ofstream(system / "cpu/cpu5/topology/physical_package_id") << "2\n";
  const std::vector<Cpu> cpus = cpu_topology({5, 6}, system);
  EXPECT_EQ(cpus[0].numa_node, 1);
  EXPECT_EQ(cpus[0].package, 2);
  EXPECT_EQ(cpus[0].core, 17);
  EXPECT_EQ(cpus[1].number, 6);  // nothing is said about it
  EXPECT_EQ(cpus[1].numa_node, 0);
  EXPECT_FALSE(usable_cpus().empty());
}

}  // namespace
}  // namespace vmla::launch
