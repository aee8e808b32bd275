#include "launch/commands/doctor.h"

#include "analysis/page/page_origin.h"
#include "kernels/cuda_module.h"
#include "kernels/gpu_driver.h"
#include "launch/doctor/machine.h"
#include "launch/doctor/measure_device.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/program_beside.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;
using namespace doctor;

/// Lines are printed a section at a time, so that what is known is there before the next thing is
/// tried.
class Page {
 public:
  void add(const Finding& finding) { findings_.push_back(finding); }
  void add(const Findings& findings) {
    findings_.insert(findings_.end(), findings.begin(), findings.end());
  }
  void show(const std::string& section) const {
    std::fputs(section_text(findings_, section).c_str(), stdout);
    std::fflush(stdout);
  }
  const Findings& findings() const { return findings_; }

 private:
  Findings findings_;
};

DriverFacts ask_driver() {
  DriverFacts facts;
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  facts.visible_set = visible != nullptr;
  if (visible != nullptr) facts.visible = visible;
  facts.driver = kernels::driver_answer();
  std::error_code none;
  facts.device_files = fs::exists("/dev/nvidiactl", none);
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  ..."
  std::ifstream in("/proc/driver/nvidia/version");
  std::string line, word;
  if (std::getline(in, line)) {
    std::istringstream words(line);
    while (words >> word) {
      if (word.find('.') != std::string::npos &&
          word.find_first_not_of("0123456789.") == std::string::npos) {
        facts.version = word;
        break;
      }
    }
  }
  facts.problem = kernels::load_cuda_module();
  return facts;
}

Finding libtorch_line() {
  return {.section = "build",
          .name = "LibTorch",
          .found = formatted("{}.{}.{}, {} threads, vectors {}",
                             TORCH_VERSION_MAJOR,
                             TORCH_VERSION_MINOR,
                             TORCH_VERSION_PATCH,
                             at::get_num_threads(),
                             at::get_cpu_capability()),
          .advice = {},
          .figures = {}};
}

void show_machine(Page& page, const std::string& disk, int64_t gpus) {
  CpuFacts cpu = measure_cpu();
  cpu.threads = at::get_num_threads();
  cpu.gemm_flops = gemm_flops(at::kCPU, at::kFloat, 1024);
  page.add(judge_cpu(cpu));
  page.add(judge_memory(measure_memory()));
  page.add(judge_disk(measure_disk(disk)));
  page.show("machine");
  page.add(judge_limits(measure_limits(), gpus));
  page.show("limits");
  page.add(libtorch_line());
  const bool bundled = !io::find_program_beside("vmla-decode").has_value();
  page.add(judge_library(measure_library("OpenCV", bundled ? "vmla-decode-y4m" : "vmla-decode")));
  page.add(judge_library(measure_library("HDF5", "vmla-hdf5")));
  page.show("build");
}

/// The GPUs' lines. Returns the rates that kernels are judged by: of the first GPU.
GpuFacts show_gpus(Page& page, const DriverFacts& driver) {
  page.add(judge_driver(driver, kernels::cuda_build()));
  GpuFacts first;
  if (driver.problem.empty()) {
    // A driver that describes nothing still has the GPUs that LibTorch counts.
    std::vector<kernels::DriverGpu> gpus = driver.driver.gpus;
    if (gpus.empty()) gpus.resize(1);
    for (size_t i = 0; i < gpus.size(); ++i) {
      const GpuFacts facts = measure_gpu(gpus[i], static_cast<int64_t>(i));
      if (i == 0) first = facts;
      page.add(judge_gpu(facts, kernels::cuda_build()));
    }
  }
  page.show("GPUs");
  return first;
}

void show_kernels(Page& page, at::Device device, const GpuFacts& gpu) {
  for (const KernelFacts& facts : measure_kernels(device)) page.add(judge_kernel(facts, gpu.copy));
  page.show("kernels");
  for (const AttentionFacts& facts : measure_attention(device)) {
    const bool bf16 = facts.shape.ends_with("bf16");
    page.add(judge_attention(facts, bf16 ? gpu.gemm_bf16 : gpu.gemm_fp32));
  }
  page.show("attention");
}

}  // namespace

int run(const DoctorArgs& args) {
  if (!fs::is_directory(args.disk)) {
    fail_user("doctor: --disk {}: is not a folder; name one on the disk that runs are written to",
              args.disk);
  }
  const std::string program = analysis::page_origin();
  std::printf("%s\n", program.c_str());
  // Before anything asks LibTorch about CUDA.
  const DriverFacts driver = ask_driver();
  const bool on_gpu = driver.problem.empty();
  const int64_t gpus =
      on_gpu ? std::max<int64_t>(1, static_cast<int64_t>(driver.driver.gpus.size())) : 0;
  Page page;
  show_machine(page, args.disk, gpus);
  const GpuFacts first = show_gpus(page, driver);
  show_kernels(page, on_gpu ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU), first);
  page.add(judge_network(measure_network()));
  page.add(judge_nccl(measure_nccl(gpus)));
  page.show("ranks");
  std::printf("%s\n", verdict_counts(page.findings()).c_str());
  if (!args.json.empty())
    io::write_file_atomically(args.json, findings_json(page.findings(), program));
  return any_wrong(page.findings()) ? kFault : kDone;
}

}  // namespace vmla::launch
