#include "launch/doctor/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

namespace vmla::launch::doctor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// The value behind "KEY :" or "KEY:" in a file of such lines; empty where it is not there.
std::string value_of(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(key)) continue;
    if (line.find_last_not_of(" \t", colon - 1) + 1 != key.size()) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return {};
}

/// The first number of a text; 0 where there is none.
double number_in(const std::string& text) {
  std::istringstream in(text);
  double number = 0;
  return in >> number ? number : 0;
}

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

/// The folders of this process' control groups for a controller, from its own up to the root: a
/// limit of any of them holds. A batch system sets it in one of them, a container in the root that
/// it shows.
std::vector<fs::path> group_folders(const fs::path& root, const std::string& controller) {
  const fs::path tree = root / "sys/fs/cgroup";
  std::vector<fs::path> folders = {tree, tree / controller};
  std::ifstream in(root / "proc/self/cgroup");  // "0::/path", or "4:cpu,cpuacct:/path" (version 1)
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool unified = names == ",,";
    if (!unified && names.find("," + controller + ",") == std::string::npos) continue;
    fs::path group = fs::path(line.substr(second + 1)).relative_path();
    for (; !group.empty(); group = group.parent_path()) {
      folders.push_back((unified ? tree : tree / controller) / group);
    }
  }
  return folders;
}

int64_t limit_of(decltype(RLIMIT_NOFILE) which, bool most) {
  rlimit limit{};
  if (getrlimit(which, &limit) != 0) return -1;
  const rlim_t value = most ? limit.rlim_max : limit.rlim_cur;
  return value == RLIM_INFINITY ? -1 : static_cast<int64_t>(value);
}

double free_bytes(const fs::path& folder) {
  struct statvfs disk{};
  if (statvfs(folder.c_str(), &disk) != 0) return 0;
  return static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
}

/// Both ways over one open file, which has no name any more.
void try_disk(int file, DiskFacts& facts) {
  constexpr size_t kPiece = size_t{8} << 20;
  constexpr size_t kPieces = 32;
  std::vector<char> bytes(kPiece);
  // No zeros: a disk may compress.
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 2654435761U >> 13);
  size_t written = 0;
  auto begin = Clock::now();
  while (written < kPieces * kPiece && seconds_since(begin) < 1.0) {
    const ssize_t put = write(file, bytes.data(), bytes.size());
    if (put <= 0) {
      facts.problem = std::string("cannot be written: ") + std::strerror(put < 0 ? errno : ENOSPC);
      return;
    }
    written += static_cast<size_t>(put);
    fdatasync(file);
  }
  facts.write_rate = static_cast<double>(written) / seconds_since(begin);
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  lseek(file, 0, SEEK_SET);
  size_t taken = 0;
  begin = Clock::now();
  while (seconds_since(begin) < 1.0) {
    const ssize_t got = read(file, bytes.data(), bytes.size());
    if (got <= 0) break;
    taken += static_cast<size_t>(got);
  }
  facts.read_rate = static_cast<double>(taken) / seconds_since(begin);
}

}  // namespace

CpuFacts measure_cpu(const fs::path& root) {
  CpuFacts facts;
  facts.model = value_of(root / "proc/cpuinfo", "model name");
  facts.online = sysconf(_SC_NPROCESSORS_ONLN);
  cpu_set_t mask;
  facts.usable = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : facts.online;
  std::istringstream flags(value_of(root / "proc/cpuinfo", "flags"));
  std::set<std::string> known;
  for (std::string flag; flags >> flag;) known.insert(flag);
  for (const char* wanted : {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"}) {
    if (known.contains(wanted)) facts.vectors.emplace_back(wanted);
  }
  // "max 100000" or "150000 100000": microseconds of processor time in a period.
  for (const fs::path& group : group_folders(root, "cpu")) {
    std::istringstream quota(first_line(group / "cpu.max"));
    double used = 0, period = 0;
    if (!(quota >> used >> period)) {
      used = number_in(first_line(group / "cpu.cfs_quota_us"));
      period = number_in(first_line(group / "cpu.cfs_period_us"));
    }
    if (used <= 0 || period <= 0) continue;
    facts.quota = facts.quota > 0 ? std::min(facts.quota, used / period) : used / period;
  }
  return facts;
}

MemoryFacts measure_memory(const fs::path& root) {
  constexpr double kKib = 1024;
  MemoryFacts facts;
  facts.total = kKib * number_in(value_of(root / "proc/meminfo", "MemTotal"));
  facts.available = kKib * number_in(value_of(root / "proc/meminfo", "MemAvailable"));
  for (const fs::path& group : group_folders(root, "memory")) {
    const bool unified = fs::exists(group / "memory.max");
    const double limit =
        number_in(first_line(group / (unified ? "memory.max" : "memory.limit_in_bytes")));
    // "max" is no number; version 1 says "no limit" by one beyond any memory.
    if (limit <= 0 || limit >= facts.total) continue;
    if (facts.group_limit > 0 && limit >= facts.group_limit) continue;
    facts.group_limit = limit;
    facts.group_used =
        number_in(first_line(group / (unified ? "memory.current" : "memory.usage_in_bytes")));
  }
  return facts;
}

LimitFacts measure_limits() {
  LimitFacts facts;
  facts.open_files = limit_of(RLIMIT_NOFILE, false);
  facts.most_open_files = limit_of(RLIMIT_NOFILE, true);
  facts.locked_memory = limit_of(RLIMIT_MEMLOCK, false);
  facts.processes = limit_of(RLIMIT_NPROC, false);
  facts.shared_memory = free_bytes("/dev/shm");
  std::error_code none;
  facts.infiniband = fs::exists("/sys/class/infiniband", none);
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') {
      facts.locale = value;
      break;
    }
  }
  const locale_t locale = newlocale(LC_ALL_MASK, "", nullptr);
  facts.locale_known = locale != nullptr;
  if (locale != nullptr) freelocale(locale);
  return facts;
}

DiskFacts measure_disk(const fs::path& folder) {
  DiskFacts facts;
  facts.folder = folder;
  facts.free_bytes = free_bytes(folder);
  std::string name = folder / ".vmla-doctor-XXXXXX";
  const int file = mkostemp(name.data(), O_CLOEXEC);
  if (file < 0) {
    facts.problem = std::string("cannot be written: ") + std::strerror(errno);
    return facts;
  }
  unlink(name.c_str());
  try_disk(file, facts);
  close(file);
  return facts;
}

}  // namespace vmla::launch::doctor
