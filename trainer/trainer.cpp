#include "trainer/trainer.h"

#include "analysis/runs/run_reading.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/validate_distributed.h"
#include "trainer/distributed/shared_text.h"
#include "trainer/evaluation/stage_measures.h"
#include "trainer/evaluation/validation.h"
#include "trainer/planner/memory_plan.h"
#include "trainer/telemetry/gemm_rate.h"
#include "trainer/telemetry/process_memory.h"
#include "trainer/telemetry/tensor_memory.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <ctime>

namespace vmla::trainer {
namespace {

/// True at multiples of `every` and at the last step; never when `every` is 0.
bool due(int64_t every, int64_t step, int64_t last_step) {
  return every > 0 && (step % every == 0 || step == last_step);
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

/// "generator" logs as "loss", any other player as "loss_fake_score".
std::string metric_name(const char* what, const std::string& player) {
  return player == "generator" ? what : std::string(what) + "_" + player;
}

/// A save that failed on another rank makes this one its victim, who leaves it to that rank to say
/// why.
template <class Call>
void as_victim(const Call& call) {
  try {
    call();
  } catch (const io::SaveFailedElsewhere& problem) {
    throw distributed::PeerError(problem.what());
  }
}

/// The latent projections of an MLA layer, for the rank tracker.
analysis::LatentProjections latent_projections(int64_t layer, const model::TensorMap& tensors) {
  const std::string prefix = formatted("blocks.{}.self_attn.", layer);
  return {.kv_b = tensors.at(prefix + "kv_b_proj.weight"),
          .kv_gain = tensors.at(prefix + "kv_a_layernorm.weight"),
          .kv_a = tensors.at(prefix + "kv_a_proj_with_mqa.weight")};
}

/// Copies that keep nothing else alive.
analysis::LatentProjections on_host(const analysis::LatentProjections& layer) {
  const auto copy = [](const at::Tensor& tensor) { return tensor.to(at::kCPU).clone(); };
  return {.kv_b = copy(layer.kv_b), .kv_gain = copy(layer.kv_gain), .kv_a = copy(layer.kv_a)};
}

/// This rank among those that write checkpoints together. Collective.
io::SavePlace save_place(const TrainConfig& config, const distributed::Mesh& mesh) {
  std::string attempt;
  if (mesh.is_lead()) attempt = formatted("{}-{}", std::time(nullptr), getpid());
  return {.writer = mesh.rank(),
          .writers = mesh.shape().world,
          .attempt = distributed::shared_text(mesh.host(), attempt),
          .serial = 0,
          .timeout_seconds = config.distributed.timeout_seconds};
}

}  // namespace

Trainer::Trainer(const TrainConfig& config,
                 const std::filesystem::path& run_dir,
                 Objective& objective,
                 RoleSet& roles,
                 StageData& data,
                 TrainState state,
                 int64_t predicted_bytes,
                 const distributed::Mesh& mesh)
    : config_(config),
      run_dir_(run_dir),
      mesh_(mesh),
      micro_batch_(micro_batch_of(config, mesh.shape().data_ranks())),
      settings_hash_(mixed(0xcbf29ce484222325ull, resolved_yaml(config))),
      objective_(objective),
      roles_(roles),
      data_(data),
      state_(state),
      ranks_(config.init.method),
      clip_flops_(total_flops(objective.training_flops(data.clip_shape(), roles.models()))),
      last_saved_(state.step > 0 ? state.step : -1),
      saver_(run_dir / "checkpoints",
             save_place(config, mesh),
             {.keep_last = config.checkpoint.keep_last, .keep_every = config.checkpoint.keep_every},
             [&mesh](bool here) { return mesh.everywhere(here); }),
      predicted_bytes_(predicted_bytes) {
  if (!mesh.is_lead()) return;  // the lead alone writes, and what it reads back is its own
  metrics_.emplace(run_dir, config.stage, state.step > 0 ? state.step : -1);
  if (state.step > 0) {  // a run that has nothing left to train still has figures to sum up
    const auto figures = newest_metrics(run_dir_);
    const auto figure = [&](const char* name) {
      const auto found = figures.find(name);
      return found == figures.end() ? 0.0 : found->second;
    };
    last_.players["generator"].loss = figure("loss");
    last_.validation_loss = figure("validation_loss");
    // The monitor goes on with what the run has shown so far; its old alarms are in the log.
    analysis::replay_health(analysis::read_run(run_dir_).metrics, health_);
  }
  const auto rank_file = run_dir_ / "rank.h5";
  if (state.step > 0 && std::filesystem::exists(rank_file)) {
    ranks_ = analysis::RankLog::read(rank_file);
    ranks_.cut_back(state.step);
  }
}

void Trainer::run(const StopSignal& stop,
                  Profiler& profiler,
                  const std::function<void(int64_t step)>& on_step) {
  data_.start_at(state_.samples_seen, micro_batch_, mesh_.data_index(), mesh_.shape().data_ranks());
  std::optional<log::ProgressBar> progress;
  if (mesh_.is_lead()) progress.emplace(config_.stage, config_.train.steps);
  if (state_.step == 0) measure_ranks();
  try {
    while (state_.step < config_.train.steps) {
      if (on_step) on_step(state_.step + 1);
      run_step(stop, profiler);
      if (progress) progress->update(state_.step, formatted("loss {}", short_number(last_.loss())));
      stop_if_asked(stop);
    }
    as_victim([&] { saver_.finish(); });
  } catch (const distributed::PeerError&) {
    saver_.cancel();  // a save that waits for the lost rank's part would wait in vain
    throw;
  }
}

/// One step of every player whose turn it is, and what is measured and written after it.
void Trainer::run_step(const StopSignal& stop, Profiler& profiler) {
  profiler.step_begins();
  timer_.start();
  mesh_.reset_counters();
  reset_tensor_peak(at::Device(config_.train.device));
  for (auto& [name, figures] : last_.players) figures.updated = false;
  for (RoleState& state : roles_.states) {
    const bool trained = state.role.training == Training::kTrained;
    if (trained && state_.step % state.role.update_every == 0)
      train_player(state, stop.received() != nullptr);
  }
  ++state_.step;
  last_.seconds = timer_.stop();
  measure_memory();
  profiler.step_ended();
  seconds_trained_ += last_.seconds;
  step_seconds_.push_back(last_.seconds);
  observe();
}

/// All ranks stop after the same step: the one in which a rank said that it was asked to.
void Trainer::stop_if_asked(const StopSignal& stop) {
  const char* signal = stop.received();
  const bool asked = mesh_.shape().world == 1 ? signal != nullptr : stop_agreed_;
  if (!asked || state_.step >= config_.train.steps) return;
  save();
  as_victim([&] { saver_.finish(); });
  throw StopRequested(
      formatted("{}: saved step {} of {} in {}; run the same command again to go on",
                signal ? signal : "a signal to another rank",
                state_.step,
                config_.train.steps,
                run_dir_.string()));
}

/// What the step's tensors held at most; the first step also says how that was predicted.
void Trainer::measure_memory() {
  last_.tensor_peak_bytes = tensor_bytes(at::Device(config_.train.device)).peak;
  if (tensor_peak_bytes_ == 0 && mesh_.is_lead()) {
    log::info("memory of the first step: {}",
              memory_comparison(predicted_bytes_, last_.tensor_peak_bytes));
  }
  tensor_peak_bytes_ = std::max(tensor_peak_bytes_, last_.tensor_peak_bytes);
}

/// One optimizer step of one role.
void Trainer::train_player(RoleState& player, bool stop_asked) {
  const std::string& name = player.role.name;
  const OptimizerConfig& optimizer =
      player.role.optimizer ? *player.role.optimizer : config_.optimizer;
  PlayerFigures& figures = last_.players[name];
  player.weights->zero_gradients();
  UpdateReport report = accumulate_losses(player);
  timer_.begin("optimizer");
  player.weights->finish_gradients();
  report.squared_norm = squared_gradient_norm(*player.weights);
  report.stop = stop_asked;
  UpdateReduction sums(mesh_, player.weights->copies(), std::move(report));
  figures.lr = learning_rate(optimizer, state_.step, config_.train.steps);
  // The update is under way before the host has read a number: it writes nothing where one of them
  // is not finite.
  const at::Tensor scale =
      clip_factor(sums.squared_norm().sqrt(), sums.loss(), optimizer.max_grad_norm);
  as_victim([&] { saver_.before_update(); });
  player.optimizer->step(*player.weights, figures.lr, scale);
  report = sums.read();
  stop_agreed_ = stop_agreed_ || report.stop;
  figures.loss = report.loss.item<double>();
  figures.metrics = std::move(report.metrics);
  figures.grad_norm = std::sqrt(report.squared_norm.item<double>());
  if (!std::isfinite(figures.loss) || !std::isfinite(figures.grad_norm)) {
    fail_run(
        "step {}: {} has loss {:g} and gradient norm {:g}; its weights were not changed, the last "
        "checkpoint in {} is intact. Lower {}{} or look at the data",
        state_.step + 1,
        name,
        figures.loss,
        figures.grad_norm,
        run_dir_.string(),
        player.role.optimizer ? "its optimizer's" : "optimizer.",
        player.role.optimizer ? " lr" : "lr");
  }
  figures.updated = true;
  for (RoleState& average : roles_.states) {
    const Role& role = average.role;
    if (role.training != Training::kEmaOf || role.ema_of != name) continue;
    const double decay = state_.step < role.ema_start_step ? 0.0 : role.ema_decay;
    update_ema(*average.weights, *player.weights, decay);
    if (average.uploaded) average.uploaded->forget();
  }
}

/// Forward and backward of this rank's micro-batches; gradients of all ranks add up to those of the
/// batch's mean loss.
UpdateReport Trainer::accumulate_losses(RoleState& player) {
  const NetworkTable networks = roles_.networks(config_.train.recompute == "block");
  const int64_t batch = config_.train.batch_size;
  const double share = static_cast<double>(micro_batch_) / static_cast<double>(batch);
  const int64_t rank_share = batch / mesh_.shape().data_ranks();
  const int64_t begin = mesh_.data_index() * rank_share, end = begin + rank_share;
  UpdateReport report;
  report.loss = at::zeros({}, at::device(at::Device(config_.train.device)).dtype(at::kDouble));
  report.agreement = mixed(mixed(settings_hash_, static_cast<uint64_t>(state_.step)),
                           static_cast<uint64_t>(state_.samples_seen));
  for (int64_t first = begin; first < end; first += micro_batch_) {
    timer_.begin("data");
    model::TensorMap inputs = data_.next(micro_batch_, state_.step, first);
    inputs.merge(objective_.draws(player.role.name,
                                  data_.clip_shape(),
                                  {.seed = static_cast<uint64_t>(config_.seed),
                                   .step = state_.step,
                                   .first_sample = first,
                                   .batch = micro_batch_,
                                   .validation = false}));
    for (const auto& [name, tensor] : inputs) {
      if (tensor.dim() == 0 && at::isIntegralType(tensor.scalar_type(), false))  // an exit step
        report.agreement = mixed(report.agreement, static_cast<uint64_t>(tensor.item<int64_t>()));
    }
    place_inputs(config_, inputs);
    timer_.begin("forward");
    const bool last_micro_batch = first + micro_batch_ >= end;
    objective_.evaluate(player.role.name,
                        inputs,
                        networks,
                        model::GradMode::kFull,
                        [&](const LossTerms& terms, bool last) {
                          report.loss += terms.total.detach().to(at::kDouble) * share;
                          for (const auto& [name, value] : terms.metrics)
                            report.metrics[name] += value * share;
                          timer_.begin("backward");
                          if (last && last_micro_batch) player.weights->begin_last_backward();
                          (terms.total * share).backward();
                          if (!last) timer_.begin("forward");
                        });
  }
  state_.samples_seen += batch;
  return report;
}

/// Figures of the players that were updated in the last step. A step without a generator update has
/// no `loss`: a stale one would look like a new one.
MetricValues Trainer::player_values() const {
  MetricValues values;
  for (const RoleState& state : roles_.states) {
    const auto found = last_.players.find(state.role.name);
    if (found == last_.players.end() || !found->second.updated) continue;
    const auto& [name, figures] = *found;
    values.emplace_back(metric_name("loss", name), figures.loss);
    values.emplace_back(metric_name("grad_norm", name), figures.grad_norm);
    values.emplace_back(metric_name("lr", name), figures.lr);
    for (const auto& [metric, value] : figures.metrics) values.emplace_back(metric, value);
  }
  return values;
}

/// Everything that looks on and leaves the weights as they are.
void Trainer::observe() {
  const int64_t step = state_.step, steps = config_.train.steps;
  MetricValues values = player_values();
  for (const analysis::HealthAlarm& alarm : health_.observe(step, values)) {
    if (mesh_.is_lead()) log::warn("{}: {}", config_.stage, alarm.message);
  }
  for (const auto& figure : health_.figures()) values.push_back(figure);
  values.emplace_back("time_step", last_.seconds);
  // Of the save that began after the step before; a step whose own save is the last has no line.
  if (const double waited = saver_.take_waited_seconds(); waited > 0)
    values.emplace_back("time_save", waited);
  for (const auto& [phase, seconds] : timer_.phases())
    values.emplace_back("time_" + phase, seconds);
  if (mesh_.shape().world > 1) add_communication(values);
  if (due(config_.validation.every, step, steps) && data_.held_out()) {
    run_validation();
    values.emplace_back("validation_loss", last_.validation_loss);
    for (size_t i = 0; i < last_.validation_by_time.size(); ++i) {
      values.emplace_back(formatted("validation_loss_t{}", i), last_.validation_by_time[i]);
    }
  }
  if (mesh_.is_lead()) log_step(std::move(values));
  if (due(config_.rank.every, step, steps)) measure_ranks();
  if (due(config_.sample.every, step, steps) && !config_.sample.prompts.empty()) write_samples();
  if (due(config_.checkpoint.every, step, steps) || step == steps) save();
}

/// What the step sent and waited for, and how far the ranks' own work lay apart: they end a step
/// together, so a slow one shows in how little it waited.
void Trainer::add_communication(MetricValues& values) const {
  const distributed::CommCounters sent = mesh_.counters();
  values.emplace_back("comm_bytes", sent.bytes());
  values.emplace_back("comm_calls", static_cast<double>(sent.calls()));
  values.emplace_back("time_comm_exposed", sent.exposed_seconds);
  values.emplace_back("time_comm_hidden", std::max(0.0, sent.busy_seconds - sent.exposed_seconds));
  const double own = last_.seconds - sent.exposed_seconds;
  const at::Tensor ends = at::tensor({own, -own}, at::kDouble);
  mesh_.host().all_reduce(ends, distributed::ReduceOp::kMax).wait();
  values.emplace_back("step_time_spread", (ends[0] + ends[1]).item<double>());
}

void Trainer::log_step(MetricValues values) {
  const ClipShape clip = data_.clip_shape();
  const auto grid = model::token_grid(config_.model, clip.height, clip.width);
  const double clips = static_cast<double>(config_.train.batch_size);
  const double tokens = static_cast<double>(clip.frames * grid.rows * grid.cols) * clips;
  const double tflops = clips * clip_flops_ / last_.seconds * 1e-12;
  values.emplace_back("tokens_per_second", tokens / last_.seconds);
  values.emplace_back("tflops", tflops);
  values.emplace_back("mfu", tflops / gemm_tflops(config_.train.device));
  values.emplace_back("memory_peak_bytes", static_cast<double>(peak_memory_bytes()));
  values.emplace_back("tensor_peak_bytes", static_cast<double>(last_.tensor_peak_bytes));
  metrics_->append(state_.step, values);
  if (due(config_.train.log_every, state_.step, config_.train.steps)) {
    const bool validated =
        data_.held_out() && due(config_.validation.every, state_.step, config_.train.steps);
    const std::string validation =
        validated ? formatted("  validation {}", short_number(last_.validation_loss)) : "";
    std::string players;
    for (const RoleState& state : roles_.states) {
      const auto found = last_.players.find(state.role.name);
      if (found == last_.players.end()) continue;
      const auto& [name, figures] = *found;
      if (name != "generator") players += "  " + name;
      players += formatted("  loss {}{}  grad {}  lr {}",
                           short_number(figures.loss),
                           name == "generator" ? validation : "",
                           short_number(figures.grad_norm),
                           short_number(figures.lr));
    }
    log::info("{} step {}/{}{}  {} ms",
              config_.stage,
              state_.step,
              config_.train.steps,
              players,
              short_number(last_.seconds * 1e3));
  }
}

const RoleState& Trainer::best() const {
  for (const char* role : {"generator_ema", "target_ema"}) {
    if (roles_.has(role)) return roles_.at(role);
  }
  return roles_.at("generator");
}

void Trainer::measure_ranks() {
  if (config_.rank.every <= 0 || !config_.model.is_mla()) return;
  const at::NoGradGuard no_grad;
  model::TrainedWeights& weights = *roles_.at("generator").weights;
  std::vector<analysis::LatentProjections> layers;
  for (int64_t layer = 0; layer < config_.model.num_layers; ++layer) {
    auto found = latent_projections(layer, weights.tensors_of(layer));
    if (!mesh_.is_lead()) continue;
    if (weights.is_gathered()) found = on_host(found);  // a layer's few, without the rest of it
    layers.push_back(std::move(found));
  }
  if (!mesh_.is_lead()) return;
  if (!ranks_.steps().empty() && ranks_.steps().back() >= state_.step) return;
  if (ranks_.null().empty()) {
    std::vector<analysis::LayerRank> null;
    for (const auto& layer : layers) null.push_back(tracker_.null_baseline(layer));
    ranks_.set_null(std::move(null));
  }
  ranks_.append(state_.step, tracker_.measure(layers));
}

void Trainer::run_validation() {
  const NetworkTable networks = roles_.networks(false);
  const ValidationResult result = validate(config_,
                                           micro_batch_,
                                           objective_,
                                           networks,
                                           best().role.name,
                                           *data_.held_out(),
                                           data_.shared_inputs());
  last_.validation_loss = result.loss;
  last_.validation_by_time = result.loss_by_time;
}

void Trainer::write_samples() {
  const at::NoGradGuard no_grad;
  const RoleState& role = best();
  const VideoSampler sampler(data_.media(), !objective_.causal());
  VideoSampler::Request request{
      .prompts = {},
      .latent_frames = sampler.latent_frames_for(config_.model, config_.sample.frames),
      .sampler = sampler_settings(config_.sample, objective_),
      .negative_prompt = config_.sample.negative_prompt,
      .batch = 1,
      .erase_cache = false,
      .device = at::Device(config_.train.device),
      .noise_PFCHW = {}};
  for (const std::string& prompt : sample_prompts(config_.sample)) {
    request.prompts.push_back({prompt, static_cast<uint64_t>(config_.sample.seed)});
  }
  const model::Network network = roles_.network(role);
  if (!mesh_.is_lead()) {  // weights and tokens may be spread: every rank takes part
    sampler.sample(network, request, [](const SampledChunk&) {});
    return;
  }
  sample_to_folder(sampler,
                   network,
                   request,
                   config_.sample.frames,
                   run_dir_ / "samples" / formatted("step_{}", state_.step),
                   false);
}

void Trainer::save() {
  if (last_saved_ == state_.step) return;
  if (mesh_.is_lead() && !ranks_.steps().empty()) ranks_.write(run_dir_ / "rank.h5");
  as_victim([&] {
    saver_.begin(training_share(config_, roles_, state_, data_.media(), mesh_.replica()));
  });
  last_saved_ = state_.step;
}

double Trainer::median_step_seconds() const {
  if (step_seconds_.empty()) return 0;
  std::vector<double> sorted = step_seconds_;
  const auto middle = sorted.begin() + static_cast<long>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

}  // namespace vmla::trainer
