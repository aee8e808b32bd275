#include "launch/commands/bench.h"

#include "analysis/page/page_origin.h"
#include "kernels/gpu_driver.h"
#include "launch/bench/benchmarks.h"
#include "launch/doctor/machine.h"
#include "launch/doctor/measure_device.h"
#include "launch/kept_memory.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "trainer/compute_device.h"
#include "trainer/config/config_yaml.h"
#include "trainer/telemetry/gemm_rate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>

namespace vmla::launch {
namespace {

using namespace bench;

const std::map<std::string, std::function<Outcome(const Request&)>> kBenchmarks = {
    {"step", time_step},
    {"stream", time_stream},
    {"optimizer", time_optimizer},
    {"checkpoint", time_checkpoint},
    {"vae", time_vae},
    {"init", time_init},
    {"rank", time_rank},
    {"data", time_data}};

/// A folder that is not there yet.
std::filesystem::path own_folder(const std::string& parent) {
  return std::filesystem::path(parent) / formatted("vmla_bench_{}", getpid());
}

/// "cpu", or "cuda (NVIDIA H200)".
std::string device_text(const std::string& device) {
  if (device == "cpu") return device;
  const std::vector<kernels::DriverGpu> gpus = kernels::driver_answer().gpus;
  return gpus.empty() ? device : formatted("{} ({})", device, gpus.front().name);
}

}  // namespace

int run(const BenchArgs& args) {
  trainer::TrainConfig config = trainer::load_config(args.config_file(), args.set);
  if (args.on_cpu_alone()) {
    config.train.device = "cpu";
    config.train.precision = "fp32";
  }
  keep_freed_memory();
  trainer::prepare_device(config.train.device);
  trainer::use_kernels(config);
  trainer::check_kernels_on(config.train.device);
  const at::Device device(config.train.device);
  trainer::use_attention(config.kernels, device);
  const auto gemm = [&] { return 1e12 * trainer::measure_gemm_tflops(config.train.device); };

  Page page{.program = analysis::page_origin(),
            .benchmark = args.name,
            .device = device_text(config.train.device),
            .processor = doctor::measure_cpu().model,
            .precision = config.train.precision,
            .threads = at::get_num_threads()};
  page.machine = {.gemm_before = gemm(), .copy_before = doctor::copy_rate(device)};
  Outcome outcome = kBenchmarks.at(args.name)({.config = config,
                                               .repeats = {args.warm_up, args.repeats},
                                               .chunks = args.chunks.value_or(12),
                                               .folder = own_folder(args.folder.value_or(".")),
                                               .disk_rate = args.disk_rate.value_or(0) * 1e6});
  page.machine.gemm_after = gemm();
  page.machine.copy_after = doctor::copy_rate(device);
  page.subject = std::move(outcome.subject);
  page.rows = std::move(outcome.rows);
  std::fputs(page_text(page).c_str(), stdout);
  if (!args.json.empty()) io::write_file_atomically(args.json, page_json(page));
  return kDone;
}

}  // namespace vmla::launch
