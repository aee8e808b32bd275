#include <ATen/ATen.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "launch/bench/benchmarks.h"
#include "launch/bench/random_stage.h"
#include "launch/device_wait.h"
#include "model/io/atomic_file.h"
#include "model/io/format.h"
#include "trainer/observers/stage_saver.h"
#include "trainer/planner/planned_roles.h"

namespace vmla::launch::bench {
namespace {

using namespace trainer;

std::string stage_subject(const RandomStage& stage) {
  const TrainConfig& c = stage.config();
  const ClipShape& clip = stage.media().clip;
  return formatted(
      "{}, {}, {} layers of width {}, {} parameters; {} clips a step of {} x {} x {} x {} latents",
      c.objective.name,
      c.model.attention,
      c.model.num_layers,
      c.model.dim,
      model::parameter_count(c.model),
      c.train.batch_size,
      clip.frames,
      clip.channels,
      clip.height,
      clip.width);
}

/// The least bytes of the generator's update, each number read once for the norm and once more for
/// everything else: gradients twice, masters, moments and averages read and written, copies in the
/// compute dtype written.
double update_bytes(const RandomStage& stage, const PlannedRole& generator) {
  const RoleBytes bytes = role_bytes(stage.config(), generator, {});
  return static_cast<double>(2 * bytes.gradients + 2 * bytes.masters + 2 * bytes.first_moments +
                             2 * bytes.second_moments + bytes.computing);
}

/// The same of an average: its masters read and written, its copies written.
double average_bytes(model::TrainedWeights& average) {
  size_t bytes = 0;
  for (const int64_t unit : average.units()) {
    bytes += 2 * average.master(unit).nbytes();
    if (const at::Tensor copy = average.compute_copy(unit); copy.defined()) bytes += copy.nbytes();
  }
  return static_cast<double>(bytes);
}

/// While it lives, every weights file takes as long to write as on a disk of this rate: each write,
/// flush and rename waits until as much time has passed since the file's first one as its bytes
/// would take.
class SlowDisk {
 public:
  explicit SlowDisk(double bytes_per_second) : slows_(bytes_per_second > 0) {
    using Clock = std::chrono::steady_clock;
    namespace fs = std::filesystem;
    if (!slows_) return;
    io::set_fault_hook([bytes_per_second, began = std::map<fs::path, Clock::time_point>()](
                           std::string_view, const fs::path& path) mutable {
      if (path.extension() != ".safetensors") return 0;
      const auto start = began.emplace(path, Clock::now()).first->second;
      std::error_code problem;
      const auto bytes = static_cast<double>(fs::file_size(path, problem));
      if (problem) return 0;
      const std::chrono::duration<double> least(bytes / bytes_per_second);
      std::this_thread::sleep_until(start + std::chrono::duration_cast<Clock::duration>(least));
      return 0;
    });
  }
  ~SlowDisk() {
    if (slows_) io::set_fault_hook(nullptr);
  }
  SlowDisk(const SlowDisk&) = delete;
  SlowDisk& operator=(const SlowDisk&) = delete;

 private:
  bool slows_;
};

/// A folder that goes when the benchmark ends.
struct RemovedFolder {
  std::filesystem::path path;
  ~RemovedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

double bytes_in(const std::filesystem::path& folder) {
  double bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) bytes += static_cast<double>(entry.file_size());
  return bytes;
}

}  // namespace

Outcome time_step(const Request& request) {
  RandomStage stage(request.config);
  const int64_t steps = stage.cycle_steps();
  std::map<std::string, double> phases;  // of the runs that count
  Row row{.name = steps == 1 ? "step" : formatted("cycle of {} steps", steps)};
  int64_t run = 0;
  row.runs = time_runs(stage.device(), request.repeats, [&] {
    stage.cycle();
    if (++run <= request.repeats.warm_up) return;
    for (const auto& [phase, seconds] : stage.phases()) phases[phase] += seconds;
  });
  row.flops = stage.cycle_flops();
  for (const auto& [phase, seconds] : phases)
    row.figures.emplace_back("seconds_" + phase,
                             seconds / static_cast<double>(request.repeats.count));
  return {.subject = stage_subject(stage), .rows = {row}};
}

Outcome time_optimizer(const Request& request) {
  RandomStage stage(request.config);
  RoleState& generator = stage.roles().at("generator");
  model::TrainedWeights& weights = *generator.weights;
  for (const int64_t unit : weights.units()) weights.gradient(unit).normal_(0, 1e-3);
  const std::vector<MovingAverage> averages = stage.roles().averages_of("generator", 0);
  const MovingAverage* beside = average_beside(weights, averages);
  const OptimizerConfig& optimizer = stage.config().optimizer;
  const at::Tensor loss = at::zeros({}, at::device(stage.device()).dtype(at::kDouble));
  // The copies in the compute dtype, which an update writes where they are.
  for (RoleState& state : stage.roles().states) {
    if (!state.weights || !state.role.computes) continue;
    for (const int64_t unit : state.weights->units()) {
      state.weights->acquire(unit);
      state.weights->release(unit);
    }
  }
  Row row{.name = averages.empty() ? "norm, clipping, AdamW, copies"
                                   : "norm, clipping, AdamW, average, copies"};
  row.runs = time_runs(stage.device(), request.repeats, [&] {
    const at::Tensor norm = squared_gradient_norm(weights).sqrt();
    const at::Tensor scale = clip_factor(norm, loss, optimizer.max_grad_norm);
    generator.optimizer->step(weights, optimizer.lr, scale, beside);
    for (const MovingAverage& average : averages) {
      if (&average != beside) update_average(average, weights);
    }
  });
  const PlannedRole planned{.role = generator.role, .config = generator.config, .sizes_from = ""};
  row.bytes = update_bytes(stage, planned);
  for (const MovingAverage& average : averages) row.bytes += average_bytes(average.weights);
  return {.subject = stage_subject(stage), .rows = {row}};
}

Outcome time_checkpoint(const Request& request) {
  RandomStage stage(request.config);
  const RemovedFolder folder{request.folder};
  const SlowDisk disk(request.disk_rate);
  const distributed::Mesh mesh;
  const MediaInfo media{
      .codec = stage.media().codec, .text_encoder = {}, .clip = stage.media().clip};
  const std::string what = stage.cycle_steps() == 1 ? "step" : "cycle";
  Row alone{.name = what + " without a save"};
  alone.runs = time_runs(stage.device(), request.repeats, [&] { stage.cycle(); });
  Row beside{.name = what + " beside a save"}, waited{.name = "waited for a save"},
      written{.name = "save with nothing beside it"};
  {
    StageSaver saver(stage.config(), folder.path, 0, mesh);
    // Saves are named after the step, so that one is made before each.
    for (int64_t i = 0; i < request.repeats.warm_up + request.repeats.count; ++i) {
      const bool counts = i >= request.repeats.warm_up;
      saver.save(stage.roles(), stage.state(), media);
      const StopWatch step;
      stage.cycle([&] { saver.before_update(); });
      wait_for(stage.device());
      if (counts) beside.runs.push_back(step.elapsed());
      const double seconds = saver.take_waited_seconds();
      if (counts) waited.runs.push_back({.wall = seconds, .processor = 0});
      saver.finish();

      const StopWatch whole;
      saver.save(stage.roles(), stage.state(), media);
      saver.before_update();
      saver.finish();
      if (counts) written.runs.push_back(whole.elapsed());
      saver.take_waited_seconds();
      stage.cycle();
    }
  }
  written.figures.emplace_back("state_bytes", bytes_in(folder.path / "checkpoints" / "latest"));
  return {.subject = stage_subject(stage), .rows = {alone, beside, waited, written}};
}

}  // namespace vmla::launch::bench
