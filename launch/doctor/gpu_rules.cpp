#include <cmath>

#include "launch/doctor/gpu.h"
#include "launch/doctor/machine.h"
#include "model/io/format.h"

namespace vmla::launch::doctor {
namespace {

constexpr char kGpus[] = "GPUs", kKernels[] = "kernels", kAttention[] = "attention",
               kRanks[] = "ranks";

// Below this share of what arithmetic gives, something is wrong with the machine and not with the
// measurement: large products reach some 0.7 of the peak, copies 0.85.
constexpr double kLeastShare = 0.5;
// A kernel that reads and writes each number once is bound by memory; it should not be slower than
// a third of the copy.
constexpr double kLeastKernelShare = 1.0 / 3;
// Attention with heads of 128 reaches half of a product's rate; a tenth says that a kernel without
// tensor cores serves it.
constexpr double kLeastAttentionShare = 0.1;
// A PCIe 3.0 slot with 16 lanes moves 12 GB/s.
constexpr double kLeastPcieRate = 8e9;
constexpr double kLeastNcclRate = 8e9;
constexpr double kMostStoreSeconds = 0.05, kMostLauncherSeconds = 5;

/// bf16 FLOP of an SM in a cycle, dense, with sums in fp32, as NVIDIA's architecture papers give
/// them; of 8.6, 8.9 and 12.0 those of consumer cards, which have half of the others' rate.
double bf16_flops_per_cycle(int major, int minor) {
  if (major == 8) return minor == 0 ? 2048 : 512;
  if (major == 9) return 4096;
  if (major == 10) return 8192;
  if (major == 12) return 512;
  return 0;
}

std::string version_text(int cuda_version) {
  return formatted("{}.{}", cuda_version / 1000, cuda_version % 1000 / 10);
}

/// How much of what arithmetic gives was reached; nothing where the peak is not known.
std::string share_text(double value, double peak) {
  return peak > 0 ? formatted(" ({:.0f} % of the peak)", 100 * value / peak) : "";
}

std::string tera(double flops) {
  return formatted("{:.3g} TFLOP/s", flops * 1e-12);
}

void add(Finding& finding, Verdict verdict, const std::string& advice) {
  if (finding.verdict == Verdict::kOk || verdict == Verdict::kWrong) finding.verdict = verdict;
  finding.advice += (finding.advice.empty() ? "" : "; ") + advice;
}

/// The line of something that is compared with a reference; "" where its error is within tolerance.
/// NaN is never within it.
std::string error_advice(double error, double tolerance, const std::string& what) {
  if (error <= tolerance) return "";
  return formatted(
      "differs from the reference by {:.2g} of the largest value, {:.2g} is allowed: "
      "{}; please report it with this page",
      error,
      tolerance,
      what);
}

}  // namespace

double peak_bandwidth(const kernels::DriverGpu& gpu) {
  return 2 * gpu.memory_clock_hz * gpu.memory_bus_bits / 8;
}

double peak_bf16(const kernels::DriverGpu& gpu) {
  return bf16_flops_per_cycle(gpu.major, gpu.minor) * gpu.multiprocessors * gpu.clock_hz;
}

Finding judge_driver(const DriverFacts& facts, const kernels::CudaBuild& build) {
  Finding finding{.section = kGpus, .name = "driver"};
  const kernels::DriverAnswer& driver = facts.driver;
  if (driver.library && driver.answers) {
    finding.found = formatted("{}serves CUDA {}, LibTorch is built for {}; {} GPUs visible",
                              facts.version.empty() ? "" : facts.version + ", ",
                              version_text(driver.cuda_version),
                              version_text(build.cuda_version),
                              driver.gpus.size());
    if (facts.visible_set) finding.found += " with CUDA_VISIBLE_DEVICES=" + facts.visible;
  }
  if (driver.library && !driver.answers) finding.found = "libcuda.so.1 answers no question";
  if (facts.problem.empty()) return finding;
  // Where nobody could expect a GPU, its absence is no fault; nor is a variable that hides it.
  const bool chosen = facts.visible_set && driver.answers && driver.gpus.empty() &&
                      facts.problem.find("hides all GPUs") != std::string::npos;
  const bool expected = facts.device_files || driver.library;
  finding.verdict = expected && !chosen ? Verdict::kWrong : Verdict::kAbsent;
  finding.found += (finding.found.empty() ? "" : ": ") + facts.problem;
  finding.advice = "everything runs on the CPU (train.device: cpu)";
  return finding;
}

Finding judge_gpu(const GpuFacts& facts, const kernels::CudaBuild& build) {
  const kernels::DriverGpu& gpu = facts.gpu;
  Finding finding{.section = kGpus, .name = formatted("GPU {}", facts.index)};
  finding.found = gpu.major == 0 ? formatted("not described by its driver, {} free",
                                             bytes_text(facts.free_bytes))
                                 : formatted("{}, capability {}.{}, {} of {} free",
                                             gpu.name,
                                             gpu.major,
                                             gpu.minor,
                                             bytes_text(facts.free_bytes),
                                             bytes_text(static_cast<double>(gpu.memory_bytes)));
  const std::string unusable = kernels::why_gpu_unusable({.gpus = {gpu}}, build, 0);
  if (!unusable.empty() || !facts.problem.empty()) {
    finding.verdict = Verdict::kWrong;
    finding.advice =
        unusable.empty() ? facts.problem : unusable + "; CUDA_VISIBLE_DEVICES can hide it";
    return finding;
  }
  const double bandwidth = peak_bandwidth(gpu), peak = peak_bf16(gpu);
  finding.found += formatted(
      "; products bf16 {}{}, fp32 {}; copies {}/s within{}, {}/s to and "
      "{}/s from it",
      tera(facts.gemm_bf16),
      share_text(facts.gemm_bf16, peak),
      tera(facts.gemm_fp32),
      bytes_text(facts.copy),
      share_text(facts.copy, bandwidth),
      bytes_text(facts.to_device),
      bytes_text(facts.from_device));
  finding.figures = {{"free_bytes", facts.free_bytes},
                     {"gemm_bf16_flops", facts.gemm_bf16},
                     {"gemm_fp32_flops", facts.gemm_fp32},
                     {"copy_bytes_per_second", facts.copy},
                     {"to_device_bytes_per_second", facts.to_device},
                     {"from_device_bytes_per_second", facts.from_device},
                     {"peak_bf16_flops", peak},
                     {"peak_bytes_per_second", bandwidth}};
  if (facts.free_bytes < 0.5 * static_cast<double>(gpu.memory_bytes)) {
    add(finding, Verdict::kSlow, "more than half of its memory is taken: nvidia-smi names who");
  }
  if (facts.gemm_bf16 < kLeastShare * peak) {
    add(finding,
        Verdict::kSlow,
        "products are below half of what its clock gives: nvidia-smi -q -d "
        "PERFORMANCE says what throttles it");
  }
  if (facts.copy < kLeastShare * bandwidth) {
    add(finding,
        Verdict::kSlow,
        "memory is below half of its rate: another program may be using it");
  }
  if (std::fmin(facts.to_device, facts.from_device) < kLeastPcieRate) {
    add(finding,
        Verdict::kSlow,
        "the way to the host is narrow: nvidia-smi -q -d PCIE shows link "
        "width and generation; offload will cost time");
  }
  return finding;
}

Finding judge_kernel(const KernelFacts& facts, double copy_rate) {
  Finding finding{.section = kKernels, .name = facts.name};
  if (!facts.problem.empty()) {
    finding.verdict = Verdict::kWrong;
    finding.found = facts.problem;
    finding.advice = "please report it with this page";
    return finding;
  }
  finding.found = formatted(
      "error {:.1e} of {:.0e} allowed, {}/s", facts.error, facts.tolerance, bytes_text(facts.rate));
  finding.figures = {{"error", facts.error}, {"bytes_per_second", facts.rate}};
  const std::string wrong = error_advice(facts.error, facts.tolerance, "results would be wrong");
  if (!wrong.empty()) {
    add(finding, Verdict::kWrong, wrong);
  } else if (copy_rate > 0 && facts.rate < kLeastKernelShare * copy_rate) {
    add(finding,
        Verdict::kSlow,
        formatted("a copy on this GPU moves {}/s; please report it", bytes_text(copy_rate)));
  }
  return finding;
}

Finding judge_attention(const AttentionFacts& facts, double gemm_rate) {
  Finding finding{.section = kAttention, .name = facts.shape};
  if (!facts.problem.empty()) {
    finding.verdict = Verdict::kWrong;
    finding.found = facts.serves + ": " + facts.problem;
    finding.advice = "please report it with this page";
    return finding;
  }
  std::string others;
  finding.figures = {{"error", facts.error}, {"flops", facts.rate}};
  for (const auto& [name, rate] : facts.also_take) {
    others += formatted("; {} would take it, too: {}", name, tera(rate));
    finding.figures.emplace_back("flops_" + name, rate);
  }
  finding.found = formatted("{} serves it: error {:.1e} of {:.0e} allowed, {}{}",
                            facts.serves,
                            facts.error,
                            facts.tolerance,
                            tera(facts.rate),
                            others);
  const std::string wrong = error_advice(facts.error, facts.tolerance, "results would be wrong");
  if (!wrong.empty()) {
    add(finding, Verdict::kWrong, wrong);
  } else if (gemm_rate > 0 && facts.rate < kLeastAttentionShare * gemm_rate) {
    add(finding, Verdict::kSlow, "below a tenth of a product's rate on this GPU; please report it");
  }
  return finding;
}

Finding judge_nccl(const NcclFacts& facts) {
  Finding finding{.section = kRanks, .name = "NCCL"};
  if (facts.gpus == 0) {
    finding.verdict = Verdict::kAbsent;
    finding.found = "no GPU: ranks talk through Gloo";
    return finding;
  }
  if (facts.built_with.empty()) {
    finding.verdict = facts.gpus > 1 ? Verdict::kWrong : Verdict::kAbsent;
    finding.found = "this build's module has no NCCL";
    finding.advice = "launch/setup --cuda builds it; until then one GPU, or host_staged";
    return finding;
  }
  finding.found = formatted("{} loaded, built with {}", facts.loaded, facts.built_with);
  finding.figures = {{"gpus", static_cast<double>(facts.gpus)}, {"bytes_per_second", facts.rate}};
  if (!facts.problem.empty()) {
    finding.verdict = Verdict::kWrong;
    finding.found += ": " + facts.problem;
    finding.advice =
        "NCCL_DEBUG=WARN vmla doctor says more; distributed.backend=host_staged goes "
        "without it";
    return finding;
  }
  if (facts.loaded != facts.built_with) {
    add(finding, Verdict::kWrong, "the two must be one version: launch/setup --cuda");
  }
  if (facts.gpus == 1) {
    finding.found += "; a group of one works";
    return finding;
  }
  finding.found += formatted(
      "; all-gather over {} GPUs {}/s of bus bandwidth", facts.gpus, bytes_text(facts.rate));
  if (facts.rate < kLeastNcclRate) {
    add(finding,
        Verdict::kSlow,
        "nvidia-smi topo -m shows how the GPUs are joined; a container "
        "needs /dev/shm (--shm-size=8g)");
  }
  return finding;
}

Findings judge_network(const NetworkFacts& facts) {
  Finding store{.section = kRanks, .name = "store"};
  store.found = formatted("{} is {}", facts.host, facts.address);
  if (!facts.store_problem.empty()) {
    store.verdict = Verdict::kWrong;
    store.found += ": " + facts.store_problem;
    store.advice =
        "ranks of one machine meet under this name: /etc/hosts must lead to an address "
        "of this machine, and a firewall must let it reach itself";
  } else {
    store.found += formatted(", a key takes {:.2f} ms", 1e3 * facts.store_seconds);
    store.figures = {{"seconds", facts.store_seconds}};
    if (facts.store_seconds > kMostStoreSeconds) {
      add(store, Verdict::kSlow, "the name may lead through another network");
    } else if (facts.only_loopback) {
      store.found += "; ranks on other machines would not find it under this name";
    }
  }
  Finding launcher{.section = kRanks, .name = "vmla-launch"};
  if (!facts.launcher_problem.empty()) {
    launcher.verdict = Verdict::kWrong;
    launcher.found = facts.launcher_problem;
    launcher.advice = "several processes cannot be started; one still can";
  } else {
    launcher.found =
        formatted("two processes started and ended in {:.2f} s", facts.launcher_seconds);
    launcher.figures = {{"seconds", facts.launcher_seconds}};
    if (facts.launcher_seconds > kMostLauncherSeconds) {
      add(launcher, Verdict::kSlow, "the machine is busy, or names are looked up slowly");
    }
  }
  return {store, launcher};
}

}  // namespace vmla::launch::doctor
