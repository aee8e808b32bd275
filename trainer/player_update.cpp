#include "trainer/player_update.h"

#include "model/io/error.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/rank_arrangement.h"
#include "trainer/roles/network_phases.h"
#include "trainer/roles/optimizer.h"
#include "trainer/roles/stage_precision.h"

#include <ATen/ATen.h>

#include <cmath>
#include <deque>

namespace vmla::trainer {
namespace {

/// RunError where loss or gradient norm is not finite. These are sums over all ranks, so every rank
/// ends here at the same step.
void expect_finite(const PlayerFigures& figures,
                   const Role& player,
                   int64_t step,
                   const std::filesystem::path& run_dir) {
  if (std::isfinite(figures.loss) && std::isfinite(figures.grad_norm)) return;
  fail_run(
      "step {}: {} has loss {:g} and gradient norm {:g}; its weights were not changed, the last "
      "checkpoint in {} is intact. Lower {} or look at the data",
      step,
      player.name,
      figures.loss,
      figures.grad_norm,
      run_dir.string(),
      player.optimizer ? "its optimizer's lr" : "optimizer.lr");
}

/// Times an update's phases under the names of the log.
class TimedPhases : public PhaseListener {
 public:
  TimedPhases(StepTimer& timer, RoleSet& roles) : timer_(timer), roles_(roles) {}
  void phase_begins(const std::string& role, NetworkWay way) override {
    switch (way) {
      case NetworkWay::kForward:
        return timer_.begin("forward");
      case NetworkWay::kBackward:
        return timer_.begin("backward");
      case NetworkWay::kWithoutGradient:
        return timer_.begin(passes_of(role));
    }
  }
  void phase_was_rollout() override { timer_.rename("rollout"); }

 private:
  const std::string& passes_of(const std::string& role) const {
    const std::string& name = roles_.at(role).role.passes;
    TORCH_CHECK(!name.empty(), "role ", role, " has passes without gradient, and no name for them");
    return name;
  }

  StepTimer& timer_;
  RoleSet& roles_;
};

}  // namespace

PlayerUpdate::PlayerUpdate(const UpdateParts& parts)
    : parts_(parts),
      micro_batch_(micro_batch_of(parts.config, parts.mesh.shape().data_ranks())),
      settings_hash_(
          distributed::hash_combine(distributed::kHashStart, resolved_yaml(parts.config))) {}

PlayerFigures PlayerUpdate::run(RoleState& player, TrainState& state, const Watch& watch) {
  const OptimizerConfig& optimizer =
      player.role.optimizer ? *player.role.optimizer : parts_.config.optimizer;
  parts_.roles.make_room_for_step();
  player.weights->zero_gradients();
  distributed::UpdateReport report = accumulate(player, state, watch.before_micro_batch);
  parts_.timer.begin("optimizer");
  player.weights->finish_gradients();
  report.squared_norm = squared_gradient_norm(*player.weights);
  report.stop = watch.stop_asked;
  distributed::UpdateReduction sums(parts_.mesh, player.weights->copies(), std::move(report));
  PlayerFigures figures;
  figures.lr = learning_rate(optimizer, state.step, parts_.config.train.steps);
  // On a GPU the host enqueues the optimizer before it has read any of the sums; where one of them
  // is not finite the clipping factor is not, and AdamW writes nothing.
  const at::Tensor scale =
      clip_factor(sums.squared_norm().sqrt(), sums.loss(), optimizer.max_grad_norm);
  watch.before_writing();
  state.samples_seen += parts_.config.train.batch_size;
  const std::vector<MovingAverage> averages =
      parts_.roles.averages_of(player.role.name, state.step);
  const MovingAverage* beside = average_beside(*player.weights, averages);
  player.optimizer->step(*player.weights, figures.lr, scale, beside);
  // For the timer: the wait that follows is for all that came before.
  parts_.timer.begin("optimizer");
  // Waits for the device; RunError where ranks disagree about what must be the same.
  report = sums.read();
  stop_agreed_ = stop_agreed_ || report.stop;
  figures.loss = report.loss.item<double>();
  for (const auto& [metric, value] : report.metrics) figures.metrics[metric] = value.item<double>();
  figures.grad_norm = std::sqrt(report.squared_norm.item<double>());
  figures.updated = true;
  expect_finite(figures, player.role, state.step + 1, parts_.run_dir);
  for (const MovingAverage& average : averages) {
    if (&average != beside) update_average(average, *player.weights);
  }
  return figures;
}

/// Forward and backward of this rank's micro-batches; gradients of all ranks add up to those of the
/// batch's mean loss.
distributed::UpdateReport PlayerUpdate::accumulate(
    RoleState& player, const TrainState& state, const std::function<void()>& before_micro_batch) {
  const TrainConfig& config = parts_.config;
  const std::string& name = player.role.name;
  const ClipShape clip = parts_.data.next_clip_shape();
  TimedPhases timed(parts_.timer, parts_.roles);
  NetworkPhases phases(name, timed);
  std::deque<WatchedWeights> watched;
  const NetworkTable networks = watched_networks(parts_.roles.networks(config), watched);
  for (WatchedWeights& weights : watched) weights.phases = &phases;
  const int64_t batch = config.train.batch_size;
  // Losses and metrics are means over a micro-batch; weighted with its share of the global batch,
  // those of all micro-batches and ranks add up to the mean over the batch.
  const double share = static_cast<double>(micro_batch_) / static_cast<double>(batch);
  const int64_t rank_share = batch / parts_.mesh.shape().data_ranks();
  const int64_t begin = parts_.mesh.data_index() * rank_share, end = begin + rank_share;
  const std::vector<DrawSpec> draws = parts_.objective.draw_specs(name, clip);
  distributed::UpdateReport report;
  report.loss = at::zeros({}, at::device(at::Device(config.train.device)).dtype(at::kDouble));
  report.agreement = distributed::hash_combine(
      distributed::hash_combine(settings_hash_, static_cast<uint64_t>(state.step)),
      static_cast<uint64_t>(state.samples_seen));
  for (int64_t first = begin; first < end; first += micro_batch_) {
    if (first > begin && before_micro_batch) before_micro_batch();
    parts_.timer.begin("data");
    model::TensorMap inputs = parts_.data.next(micro_batch_, state.step, first);
    inputs.merge(parts_.objective.draws(name,
                                        clip,
                                        {.seed = static_cast<uint64_t>(config.seed),
                                         .step = state.step,
                                         .first_sample = first,
                                         .batch = micro_batch_,
                                         .validation = false}));
    for (const DrawSpec& draw : draws) {
      // What all ranks must have drawn alike, such as the exit step.
      if (draw.shared_below == 0) continue;
      const int64_t value = inputs.at(draw.name).item<int64_t>();
      report.agreement = distributed::hash_combine(report.agreement, static_cast<uint64_t>(value));
    }
    place_inputs(config, inputs);
    parts_.timer.begin("forward");
    const bool last_micro_batch = first + micro_batch_ >= end;
    const auto backward = [&](const LossTerms& terms, bool last) {
      report.loss += terms.total.detach().to(at::kDouble) * share;
      for (const auto& [metric, value] : terms.metrics) {
        at::Tensor& sum = report.metrics[metric];
        sum = sum.defined() ? sum + value * share : value * share;
      }
      phases.backward_begins();
      // From here on a unit's gradients are complete when this backward has passed it, so that
      // their sum over the ranks may begin.
      if (last && last_micro_batch) player.weights->begin_last_backward();
      (terms.total * share).backward();
      phases.backward_ended();
      if (!last) parts_.timer.begin("forward");
    };
    parts_.objective.evaluate(name, inputs, networks, model::GradMode::kFull, backward);
  }
  return report;
}

}  // namespace vmla::trainer
