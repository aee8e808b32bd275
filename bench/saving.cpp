// How much longer steps take while a checkpoint is written: trains a model whose saved state
// exceeds 1 GB on a disk that is slowed down to a given rate, and reads the program's own timers
// from metrics.jsonl.
//
//   bench_saving RUN_DIR [MB_PER_SECOND]     (default 150; 0: the disk as it is)
//
// The run folder must not exist; it needs three times the state in space.

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "trainer/config/config_yaml.h"
#include "trainer/inputs/stage_data.h"
#include "trainer/pipeline/cpu_threads.h"
#include "trainer/planner/memory_plan.h"
#include "trainer/run_stage.h"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kSteps = 12, kEvery = 4;

vmla::trainer::TrainConfig large_config() {
  return vmla::trainer::load_config(VMLA_CONFIG_DIR "/tiny/pretrain.yaml",
                                    {"model.dim=768",
                                     "model.ffn_dim=3072",
                                     "model.num_heads=12",
                                     "model.num_layers=9",
                                     "optimizer.betas=[0.9,0.999]",
                                     "optimizer.lr=1e-4",
                                     "train.batch_size=8",
                                     "train.micro_batch_size=8",
                                     "train.log_every=1",
                                     vmla::formatted("train.steps={}", kSteps),
                                     vmla::formatted("checkpoint.every={}", kEvery),
                                     "validation.every=0",
                                     "sample.every=0",
                                     "sample.measure_clips=0"});
}

/// Makes every weights file take as long to write as on a disk of this rate: each write, flush and
/// rename waits until as much time has passed since the file's first one as its bytes would take.
void throttle(double bytes_per_second) {
  vmla::io::set_fault_hook([bytes_per_second, began = std::map<fs::path, Clock::time_point>()](
                               std::string_view, const fs::path& path) mutable {
    if (path.extension() != ".safetensors") return 0;
    const auto start = began.emplace(path, Clock::now()).first->second;
    std::error_code problem;
    const auto bytes = static_cast<double>(fs::file_size(path, problem));
    if (problem) return 0;
    std::this_thread::sleep_until(start +
                                  std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(bytes / bytes_per_second)));
    return 0;
  });
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.empty() ? 0 : values[values.size() / 2];
}

/// Seconds of the steps, from metrics.jsonl.
struct StepSeconds {
  std::vector<double> alone;   // steps before the first save
  std::vector<double> beside;  // the step after each save began, beside which its files are written
  std::vector<double> waited;  // what training waited for each save
};

StepSeconds read_steps(const fs::path& run_dir) {
  StepSeconds seconds;
  std::ifstream lines(run_dir / "metrics.jsonl");
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::json::parse(text);
    const int64_t step = line.at("step").get<int64_t>();
    if (step == 1) continue;  // it touches all memory for the first time
    const double taken = line.at("time_step").get<double>();
    if (line.contains("time_save")) {
      seconds.beside.push_back(taken);
      seconds.waited.push_back(line.at("time_save").get<double>());
    } else if (step <= kEvery) {
      seconds.alone.push_back(taken);
    }
  }
  return seconds;
}

double folder_bytes(const fs::path& folder) {
  double bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    bytes += static_cast<double>(entry.file_size());
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "bench_saving RUN_DIR [MB_PER_SECOND]\n";
    return 2;
  }
  const fs::path run_dir = argv[1];
  const double rate = 1e6 * (argc > 2 ? std::atof(argv[2]) : 150);
  const vmla::trainer::TrainConfig config = large_config();
  at::set_num_threads(
      static_cast<int>(vmla::trainer::cpu_threads(config, vmla::trainer::available_cores())));
  if (rate > 0) throttle(rate);
  vmla::trainer::run_stage({.config = config, .run_dir = run_dir}, vmla::distributed::Mesh());

  const StepSeconds seconds = read_steps(run_dir);
  const double state = folder_bytes(run_dir / "checkpoints" / "latest");
  const double step = median(seconds.alone), waited = *std::ranges::max_element(seconds.waited);
  std::cout << vmla::formatted(
      "state {:.2f} GB, disk {:.0f} MB/s: writing takes {:.1f} s. Step {:.2f} s (median of {} "
      "without a save), beside a save {:.2f} s. Waited for a save: {:.4f} s (largest of {}) = "
      "{:.2f} % of a step\n",
      state * 1e-9,
      rate * 1e-6,
      rate > 0 ? state / rate : 0.0,
      step,
      seconds.alone.size(),
      median(seconds.beside),
      waited,
      seconds.waited.size(),
      100 * waited / step);
  return 0;
}
