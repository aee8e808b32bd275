#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/doctor/finding.h"

/// The machine without its GPUs: processors, memory, disk, limits; and the libraries of this build.
namespace vmla::launch::doctor {

struct CpuFacts {
  std::string model = {};
  int64_t online = 0;                     // logical CPUs of the machine
  int64_t usable = 0;                     // those in this process' affinity mask
  double quota = 0;                       // CPUs that the control group gives; 0: no limit
  std::vector<std::string> vectors = {};  // vector sets that matter: avx2, fma, avx512f, ...
  double gemm_flops = 0;                  // of an fp32 product with the threads at hand
  int64_t threads = 1;
};

struct MemoryFacts {
  double total = 0, available = 0;  // bytes
  double group_limit = 0;           // bytes, of the control group; 0: no limit
  double group_used = 0;
};

struct DiskFacts {
  std::filesystem::path folder = {};
  double free_bytes = 0;
  double write_rate = 0, read_rate = 0;  // bytes/s, past the page cache
  std::string problem = {};              // not empty: it could not be tried
};

/// -1 in a limit: there is none.
struct LimitFacts {
  int64_t open_files = 0, most_open_files = 0;
  int64_t locked_memory = 0;  // bytes
  int64_t processes = 0;
  double shared_memory = 0;  // free bytes in /dev/shm
  bool infiniband = false;   // there is such a network adapter
  std::string locale = {};   // the name that the environment asks for
  bool locale_known = true;  // the system has it
};

/// A library as one of our programs reports it.
struct LibraryFacts {
  std::string name = {}, version = {};
  std::string problem = {};  // not empty: why there is no version
  bool optional = false;
};

// All of these read /proc, /sys and the control group's files below `root`.
CpuFacts measure_cpu(const std::filesystem::path& root = "/");
MemoryFacts measure_memory(const std::filesystem::path& root = "/");
LimitFacts measure_limits();
/// Writes a file of at most 256 MB for at most a second into the folder, reads it back, and removes
/// it.
DiskFacts measure_disk(const std::filesystem::path& folder);
/// What one of the project's programs answers to `--libraries`: "NAME VERSION".
LibraryFacts measure_library(const std::string& name, const std::string& program);

Finding judge_cpu(const CpuFacts& facts);
Finding judge_memory(const MemoryFacts& facts);
Finding judge_disk(const DiskFacts& facts);
Finding judge_library(const LibraryFacts& facts);
/// `gpus`: how many this process sees; several talk through /dev/shm.
Findings judge_limits(const LimitFacts& facts, int64_t gpus);

/// "1.5 GB"; of a rate the caller adds "/s".
std::string bytes_text(double bytes);

}  // namespace vmla::launch::doctor
