#include "trainer/observers/step_log.h"

#include "analysis/rank/subspace.h"
#include "analysis/runs/run_reading.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/observers/sample_animations.h"
#include "trainer/telemetry/gemm_rate.h"
#include "trainer/telemetry/process_memory.h"

namespace vmla::trainer {
namespace {

/// The name of a player's figure in metrics.jsonl: `loss` for the generator, `loss_fake_score` for
/// another player.
std::string metric_name(const char* what, const std::string& player) {
  return player == "generator" ? what : std::string(what) + "_" + player;
}

/// Figures of the players that were updated in the last step. A step in which the generator was not
/// updated has no `loss`: the one before would look like a new one.
MetricValues player_values(const TrainConfig& config, const StepFigures& last) {
  MetricValues values;
  for (const Role& role : objective_traits(config.objective).roles) {
    const auto found = last.players.find(role.name);
    if (found == last.players.end() || !found->second.updated) continue;
    const auto& [name, figures] = *found;
    values.emplace_back(metric_name("loss", name), figures.loss);
    values.emplace_back(metric_name("grad_norm", name), figures.grad_norm);
    values.emplace_back(metric_name("lr", name), figures.lr);
    for (const auto& [metric, value] : figures.metrics) values.emplace_back(metric, value);
  }
  return values;
}

/// TFLOP/s of the whole step and of each phase that multiplies: the model FLOPs of the players that
/// were updated, over seconds.
MetricValues rates(const ClipWork& work, double clips, const StepFigures& last) {
  double all = 0;
  std::map<std::string, double> by_phase;
  for (const ClipWork::Part& part : work.parts) {
    const auto player = last.players.find(part.player);
    if (player == last.players.end() || !player->second.updated) continue;
    all += part.flops;
    by_phase[part.phase] += part.flops;
  }
  MetricValues values = {{"tflops", clips * all / last.seconds * 1e-12}};
  for (const auto& [phase, flops] : by_phase) {
    const auto seconds = last.phase_seconds.find(phase);
    if (seconds == last.phase_seconds.end() || seconds->second <= 0) continue;
    values.emplace_back("tflops_" + phase, clips * flops / seconds->second * 1e-12);
  }
  return values;
}

void append_validation(const StepFigures& figures, MetricValues& values) {
  values.emplace_back("validation_loss", figures.validation_loss);
  for (size_t i = 0; i < figures.validation_by_time.size(); ++i)
    values.emplace_back(formatted("validation_loss_t{}", i), figures.validation_by_time[i]);
}

}  // namespace

StepLog::StepLog(const TrainConfig& config,
                 const std::filesystem::path& run_dir,
                 int64_t step,
                 int64_t ranks,
                 StepFigures& figures)
    : config_(config), ranks_(ranks), metrics_(run_dir, config.stage, step > 0 ? step : -1) {
  if (step == 0) return;
  const auto newest = newest_metrics(run_dir);
  const auto figure = [&](const char* name) {
    const auto found = newest.find(name);
    return found == newest.end() ? 0.0 : found->second;
  };
  figures.players["generator"].loss = figure("loss");
  figures.validation_loss = figure("validation_loss");
  // The monitor goes on with what the run has shown so far; its old alarms are in the log.
  const auto metrics = analysis::read_run(run_dir).metrics;
  analysis::replay_health(metrics, health_);
  const auto validated = metrics.find("validation_loss");
  if (validated != metrics.end() && !validated->second.steps.empty())
    validated_step_ = static_cast<int64_t>(validated->second.steps.back());
}

void StepLog::record(int64_t step,
                     const StepFigures& figures,
                     const ClipWork& work,
                     const MetricValues& observed,
                     bool validated) {
  MetricValues values = player_values(config_, figures);
  for (const analysis::HealthAlarm& alarm : health_.observe(step, values))
    log::warn("{}: {}", config_.stage, alarm.message);
  for (const auto& figure : health_.figures()) values.push_back(figure);
  values.emplace_back("time_step", figures.seconds);
  for (const auto& [phase, seconds] : figures.phase_seconds)
    values.emplace_back("time_" + phase, seconds);
  values.insert(values.end(), observed.begin(), observed.end());
  if (validated) append_validation(figures, values);
  // Rates are those of all ranks together; memory is this rank's.
  const auto clips = static_cast<double>(config_.train.batch_size);
  values.emplace_back("tokens_per_second", clips * work.tokens / figures.seconds);
  const MetricValues reached = rates(work, clips, figures);
  values.insert(values.end(), reached.begin(), reached.end());
  for (const auto& [name, tflops] : reached) {
    values.emplace_back("mfu" + name.substr(std::string("tflops").size()),
                        flops_utilisation(tflops, ranks_, config_.train.device));
  }
  values.emplace_back("memory_peak_bytes", static_cast<double>(peak_memory_bytes()));
  values.emplace_back("tensor_peak_bytes", static_cast<double>(figures.tensor_peak_bytes));
  metrics_.append(step, values);
  if (due(config_.train.log_every, step, config_.train.steps)) print(step, figures, validated);
}

void StepLog::record_validation(int64_t step, const StepFigures& figures) {
  MetricValues values;
  append_validation(figures, values);
  metrics_.append(step, values);
}

void StepLog::record_ranks(const analysis::RankLog& ranks) {
  TensorboardWriter& board = metrics_.tensorboard();
  const int64_t step = ranks.steps().back();
  const std::vector<analysis::LayerRank>& layers = ranks.measurements().back();
  const analysis::RankExtras& extras = ranks.extras().back();
  for (size_t i = 0; i < layers.size(); ++i) {
    const analysis::LayerRank& layer = layers[i];
    board.scalar(formatted("rank/r99/layer_{}", i), step, layer.effective.r99_fractional);
    board.scalar(formatted("rank/stable/layer_{}", i), step, layer.effective.stable_rank);
    board.scalar(formatted("rank/entropy/layer_{}", i), step, layer.effective.entropy_rank);
    for (const int64_t rank : ranks.energy_ranks()) {
      board.scalar(formatted("rank/energy_at_{}/layer_{}", rank, i),
                   step,
                   analysis::energy_at(layer.spectrum, rank));
    }
    std::vector<double> spectrum = layer.spectrum;
    const double first = spectrum.empty() || spectrum.front() <= 0 ? 1 : spectrum.front();
    for (double& value : spectrum) value /= first;
    board.curve(formatted("spectrum/layer_{}", i), step, spectrum);
  }
  for (size_t i = 0; i < extras.latents.size(); ++i) {
    board.scalar(formatted("rank/latent_entropy/layer_{}", i),
                 step,
                 extras.latents[i].effective.entropy_rank);
    board.scalar(formatted("rank/content_entropy/layer_{}", i),
                 step,
                 extras.content[i].effective.entropy_rank);
  }
  for (size_t i = 0; i < extras.cosines.size(); ++i) {
    board.scalar(formatted("rank/subspace_overlap/layer_{}", i),
                 step,
                 analysis::subspace_overlap(extras.cosines[i]));
  }
  board.scalar("rank/entropy_share",
               step,
               analysis::rank_share(layers, &analysis::EffectiveRank::entropy_rank));
  board.scalar("rank/r99_share", step, analysis::last_rank_share(ranks));
  board.flush();
}

void StepLog::record_samples(int64_t step,
                             const std::vector<std::filesystem::path>& files,
                             const MediaInfo& media) {
  TensorboardWriter& board = metrics_.tensorboard();
  for (const SampleAnimation& sample : sample_animations(files, media))
    board.image("sample/" + sample.name, step, sample.gif);
  board.flush();
}

/// One line on the terminal, with every player's last figures, also of a player that this step did
/// not update.
void StepLog::print(int64_t step, const StepFigures& last, bool validated) const {
  const std::string validation =
      validated ? formatted("  validation {:.4g}", last.validation_loss) : "";
  std::string players;
  for (const Role& role : objective_traits(config_.objective).roles) {
    const auto found = last.players.find(role.name);
    if (found == last.players.end()) continue;
    const auto& [name, figures] = *found;
    if (name != "generator") players += "  " + name;
    players += formatted("  loss {:.4g}{}  grad {:.4g}  lr {:.4g}",
                         figures.loss,
                         name == "generator" ? validation : "",
                         figures.grad_norm,
                         figures.lr);
  }
  log::info("{} step {}/{}{}  {:.4g} ms",
            config_.stage,
            step,
            config_.train.steps,
            players,
            last.seconds * 1e3);
}

}  // namespace vmla::trainer
