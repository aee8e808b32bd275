#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

/// Which CPUs each worker of a node may run on.
namespace vmla::launch {

enum class CpuBinding { kNone, kCores, kNuma };

/// Where a logical CPU sits.
struct Cpu {
  int number = 0;
  int numa_node = 0;
  int package = 0;
  int core = 0;  // hyper-threads share it
};

/// The CPUs this process may use (its affinity mask), by number.
std::vector<int> usable_cpus();

/// Where these CPUs sit, as the files below `system` say; what they do not say is 0.
std::vector<Cpu> cpu_topology(const std::vector<int>& numbers,
                              const std::filesystem::path& system = "/sys/devices/system");

/// The CPUs of each of `workers` workers, sorted by number.
/// kCores: equal shares, in which hyper-threads of a core, cores of a package and packages of a
/// NUMA node stay together; with more workers than CPUs, several share one. kNuma: whole NUMA
/// nodes; with more workers than nodes, several share one. kNone: empty lists, which bind a worker
/// to nothing.
std::vector<std::vector<int>> divide_cpus(std::vector<Cpu> cpus,
                                          int64_t workers,
                                          CpuBinding binding);

}  // namespace vmla::launch
