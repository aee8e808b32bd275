#include <algorithm>

#include "launch/doctor/machine.h"
#include "model/io/format.h"

namespace vmla::launch::doctor {
namespace {

constexpr char kMachine[] = "machine", kLimits[] = "limits", kBuild[] = "build";

// One core with AVX2 multiplies at 16 fp32 FLOP a cycle and more: at 2 GHz 32 GFLOP/s. Half of it
// says that something else uses the core, or that a limit throttles it.
constexpr double kLeastGemmPerCore = 16e9;
// A checkpoint of Wan-1.3B with its moments and averages is about 20 GB: at this rate, three
// minutes.
constexpr double kLeastDiskRate = 100e6;
constexpr double kLeastFreeDisk = 20e9;
// What the tiny pipeline needs beside the system.
constexpr double kLeastMemory = 2e9;
constexpr int64_t kLeastOpenFiles = 1024;
// What NCCL's guide asks of a container: the default of 64 MB stops its start.
constexpr double kLeastSharedMemory = 1e9;

std::string limit_text(int64_t value) {
  return value < 0 ? "unlimited" : std::to_string(value);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text.empty() ? "none" : text;
}

bool has(const std::vector<std::string>& words, const char* word) {
  return std::ranges::find(words, word) != words.end();
}

}  // namespace

std::string bytes_text(double bytes) {
  if (bytes >= 1e12) return formatted("{:.2f} TB", bytes * 1e-12);
  if (bytes >= 1e9) return formatted("{:.1f} GB", bytes * 1e-9);
  return formatted("{:.0f} MB", bytes * 1e-6);
}

Finding judge_cpu(const CpuFacts& facts) {
  Finding finding{.section = kMachine, .name = "CPU"};
  finding.found = formatted("{}; {} of {} CPUs usable",
                            facts.model.empty() ? "unknown model" : facts.model,
                            facts.usable,
                            facts.online);
  if (facts.quota > 0) finding.found += formatted(", a quota of {:.1f}", facts.quota);
  finding.found += formatted("; vectors: {}; fp32 product {:.0f} GFLOP/s with {} threads",
                             joined(facts.vectors),
                             facts.gemm_flops * 1e-9,
                             facts.threads);
  finding.figures = {{"usable_cpus", static_cast<double>(facts.usable)},
                     {"quota_cpus", facts.quota},
                     {"gemm_flops", facts.gemm_flops}};
  if (!has(facts.vectors, "avx2")) {
    finding.verdict = Verdict::kSlow;
    finding.advice = "no AVX2: matrix products run several times slower than on other CPUs";
  } else if (facts.quota > 0 && facts.quota < static_cast<double>(facts.threads)) {
    finding.verdict = Verdict::kSlow;
    finding.advice = formatted(
        "more threads than the control group's quota pays for: set OMP_NUM_THREADS={:.0f}",
        std::max(1.0, facts.quota));
  } else if (facts.gemm_flops < kLeastGemmPerCore * static_cast<double>(facts.threads)) {
    finding.verdict = Verdict::kSlow;
    finding.advice = "products are slow for so many threads: look for other programs on these CPUs";
  }
  return finding;
}

Finding judge_memory(const MemoryFacts& facts) {
  Finding finding{.section = kMachine, .name = "memory"};
  double left = facts.available;
  finding.found =
      formatted("{} of {} available", bytes_text(facts.available), bytes_text(facts.total));
  if (facts.group_limit > 0) {
    left = std::min(left, facts.group_limit - facts.group_used);
    finding.found += formatted("; the control group allows {}, of which {} are used",
                               bytes_text(facts.group_limit),
                               bytes_text(facts.group_used));
  }
  finding.figures = {{"available_bytes", left}, {"total_bytes", facts.total}};
  if (left < kLeastMemory) {
    finding.verdict = Verdict::kWrong;
    finding.advice = formatted("the tiny pipeline needs {}: end other programs, or raise the limit",
                               bytes_text(kLeastMemory));
  }
  return finding;
}

Finding judge_disk(const DiskFacts& facts) {
  Finding finding{.section = kMachine, .name = "disk"};
  if (!facts.problem.empty()) {
    finding.verdict = Verdict::kWrong;
    finding.found = facts.folder.string() + ": " + facts.problem;
    finding.advice = "--disk names the folder that runs are to be written to";
    return finding;
  }
  finding.found = formatted("{}: {} free, writes {}/s, reads {}/s",
                            facts.folder.string(),
                            bytes_text(facts.free_bytes),
                            bytes_text(facts.write_rate),
                            bytes_text(facts.read_rate));
  finding.figures = {{"free_bytes", facts.free_bytes},
                     {"write_bytes_per_second", facts.write_rate},
                     {"read_bytes_per_second", facts.read_rate}};
  if (facts.free_bytes < kLeastFreeDisk) {
    finding.verdict = Verdict::kWrong;
    finding.advice = formatted(
        "a checkpoint of Wan-1.3B takes {}: make room, or choose another "
        "folder with --run-dir",
        bytes_text(kLeastFreeDisk));
  } else if (std::min(facts.write_rate, facts.read_rate) < kLeastDiskRate) {
    finding.verdict = Verdict::kSlow;
    finding.advice = "saving and loading will take minutes: put runs and data on a local disk";
  }
  return finding;
}

Finding judge_library(const LibraryFacts& facts) {
  Finding finding{.section = kBuild, .name = facts.name, .found = facts.version};
  if (facts.problem.empty()) return finding;
  finding.verdict = facts.optional ? Verdict::kAbsent : Verdict::kWrong;
  finding.found = facts.problem;
  finding.advice =
      facts.optional ? "videos are read and written as .y4m only" : "build again: launch/setup";
  return finding;
}

Findings judge_limits(const LimitFacts& facts, int64_t gpus) {
  Finding files{.section = kLimits, .name = "open files"};
  files.found =
      formatted("{}, at most {}", limit_text(facts.open_files), limit_text(facts.most_open_files));
  files.figures = {{"open_files", static_cast<double>(facts.open_files)}};
  if (facts.open_files >= 0 && facts.open_files < kLeastOpenFiles) {
    files.verdict = Verdict::kWrong;
    files.advice = formatted("ulimit -n {} before the start", kLeastOpenFiles);
  }
  Finding locked{.section = kLimits, .name = "locked memory"};
  locked.found =
      facts.locked_memory < 0 ? "unlimited" : bytes_text(static_cast<double>(facts.locked_memory));
  if (facts.infiniband && facts.locked_memory >= 0) {
    locked.verdict = Verdict::kWrong;
    locked.advice =
        "InfiniBand registers memory, for which the limit must be off: ulimit -l "
        "unlimited (docker run --ulimit memlock=-1)";
  }
  Finding shared{.section = kLimits, .name = "/dev/shm"};
  shared.found = bytes_text(facts.shared_memory) + " free";
  shared.figures = {{"free_bytes", facts.shared_memory}};
  if (gpus > 1 && facts.shared_memory < kLeastSharedMemory) {
    shared.verdict = Verdict::kWrong;
    shared.advice = "NCCL needs it between GPUs: docker run --shm-size=8g (or --ipc=host)";
  }
  Finding locale{.section = kLimits, .name = "locale"};
  locale.found = facts.locale.empty() ? "C" : facts.locale;
  if (!facts.locale_known) {
    locale.verdict = Verdict::kAbsent;
    locale.found += " is not installed";
    locale.advice = "numbers and files are read the same; other programs may complain";
  }
  return {files, locked, shared, locale};
}

}  // namespace vmla::launch::doctor
