#include "launch/launcher/cpu_binding.h"

#include <sched.h>
#include <charconv>

#include <algorithm>
#include <fstream>
#include <string>
#include <tuple>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

int read_number(const std::filesystem::path& file) {
  std::ifstream in(file);
  int value = 0;
  return in >> value && value >= 0 ? value : 0;
}

/// The NUMA node of a CPU is the folder nodeN beside its topology.
int numa_node_of(const std::filesystem::path& cpu_folder) {
  std::error_code error;
  std::filesystem::directory_iterator entry(cpu_folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with("node")) continue;
    int node = 0;
    const char* const end = name.data() + name.size();
    const auto [last, problem] = std::from_chars(name.data() + 4, end, node);
    if (problem == std::errc() && last == end && node >= 0) return node;
  }
  return 0;
}

/// Cuts `items` into `parts` nearly equal pieces; with fewer items than parts, several parts get
/// the same one.
template <class T>
std::vector<std::vector<T>> cut(const std::vector<T>& items, size_t parts) {
  std::vector<std::vector<T>> out(parts);
  for (size_t part = 0; part < parts; ++part) {
    if (items.size() < parts) {
      out[part] = {items[part * items.size() / parts]};
      continue;
    }
    const auto at = [&](size_t p) {
      return items.begin() + static_cast<std::ptrdiff_t>(p * items.size() / parts);
    };
    out[part].assign(at(part), at(part + 1));
  }
  return out;
}

}  // namespace

std::vector<int> usable_cpus() {
  // More than CPU_SETSIZE (1024), which large machines exceed.
  constexpr int kMostCpus = 16384;
  cpu_set_t* const set = CPU_ALLOC(kMostCpus);
  if (set == nullptr) fail_run("out of memory");
  const size_t bytes = CPU_ALLOC_SIZE(kMostCpus);
  std::vector<int> out;
  if (sched_getaffinity(0, bytes, set) == 0) {
    for (int cpu = 0; cpu < kMostCpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set)) out.push_back(cpu);
    }
  }
  CPU_FREE(set);
  if (out.empty()) fail_run("the system does not say which CPUs this process may use");
  return out;
}

std::vector<Cpu> cpu_topology(const std::vector<int>& numbers,
                              const std::filesystem::path& system) {
  std::vector<Cpu> out;
  for (const int number : numbers) {
    const auto folder = system / "cpu" / ("cpu" + std::to_string(number));
    out.push_back({number,
                   numa_node_of(folder),
                   read_number(folder / "topology/physical_package_id"),
                   read_number(folder / "topology/core_id")});
  }
  return out;
}

std::vector<std::vector<int>> divide_cpus(std::vector<Cpu> cpus,
                                          int64_t workers,
                                          CpuBinding binding) {
  const auto parts = static_cast<size_t>(workers);
  std::vector<std::vector<int>> out(parts);
  if (binding == CpuBinding::kNone) return out;
  std::sort(cpus.begin(), cpus.end(), [](const Cpu& a, const Cpu& b) {
    return std::tie(a.numa_node, a.package, a.core, a.number) <
           std::tie(b.numa_node, b.package, b.core, b.number);
  });
  // What is not divided: one CPU, or all CPUs of a NUMA node.
  std::vector<std::vector<int>> groups;
  for (size_t i = 0; i < cpus.size(); ++i) {
    const bool joins =
        binding == CpuBinding::kNuma && i > 0 && cpus[i].numa_node == cpus[i - 1].numa_node;
    if (!joins) groups.emplace_back();
    groups.back().push_back(cpus[i].number);
  }
  const auto shares = cut(groups, parts);
  for (size_t part = 0; part < parts; ++part) {
    for (const auto& group : shares[part]) {
      out[part].insert(out[part].end(), group.begin(), group.end());
    }
    std::sort(out[part].begin(), out[part].end());
  }
  return out;
}

}  // namespace vmla::launch
