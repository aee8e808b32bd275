#include "trainer/trainer.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/evaluation/sample_list.h"
#include "trainer/evaluation/sample_together.h"
#include "trainer/evaluation/sampler_settings.h"
#include "trainer/evaluation/validation.h"
#include "trainer/planner/memory_plan.h"
#include "trainer/telemetry/tensor_memory.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>

namespace vmla::trainer {
namespace {

// A signal that comes in a shorter step is heeded soon enough at its end.
constexpr double kLongStepSeconds = 1;

/// A step that was given up before it had changed anything.
struct StepDropped : std::exception {};

ClipWork clip_work(const TrainerParts& parts, const ClipShape& clip) {
  const auto grid = model::token_grid(parts.config.model, clip.height, clip.width);
  ClipWork work{.tokens = static_cast<double>(clip.frames * grid.tokens())};
  for (const PhaseFlops& part : parts.objective.training_flops(clip, parts.roles.models()))
    work.parts.push_back({part.phase, part.player, part.flops});
  return work;
}

}  // namespace

Trainer::Trainer(const TrainerParts& parts, const TrainState& state, int64_t predicted_bytes)
    : parts_(parts),
      state_(state),
      timer_(at::Device(parts.config.train.device)),
      update_({.config = parts.config,
               .run_dir = parts.run_dir,
               .objective = parts.objective,
               .roles = parts.roles,
               .data = parts.data,
               .mesh = parts.mesh,
               .timer = timer_}),
      ranks_(parts.config, parts.run_dir, state.step, parts.roles.init_method, parts.mesh),
      saver_(parts.config, parts.run_dir, state.step, parts.mesh),
      predicted_bytes_(predicted_bytes) {
  // The lead alone writes the run folder's logs, so it alone reads back what earlier steps wrote.
  if (parts.mesh.is_lead()) {
    log_.emplace(parts.config, parts.run_dir, state.step, parts.mesh.shape().world, last_);
  }
}

void Trainer::run(Profiler& profiler, const std::function<void(int64_t step)>& on_step) {
  const distributed::Mesh& mesh = parts_.mesh;
  distributed::SharedStop stop(mesh, [this] { return save_at_stop(); });
  stop_ = &stop;
  changing_.lock();
  // Before `stop` goes, which waits for a thread that saves.
  const std::shared_ptr<void> released(nullptr, [this](void*) {
    stop_ = nullptr;
    if (changing_.owns_lock()) changing_.unlock();
  });
  try {
    run_steps(profiler, on_step);
    saver_.finish();
  } catch (const distributed::PeerError&) {
    // A save that is under way would wait for the failed rank's part until its timeout.
    saver_.cancel();
    throw;
  } catch (const StepDropped&) {
    stop_->stop();
  }
}

void Trainer::run_steps(Profiler& profiler, const std::function<void(int64_t step)>& on_step) {
  const TrainConfig& config = parts_.config;
  const distributed::Mesh& mesh = parts_.mesh;
  parts_.data.start_at(
      state_.samples_seen, update_.micro_batch(), mesh.data_index(), mesh.shape().data_ranks());
  std::optional<log::ProgressBar> progress;
  if (mesh.is_lead()) progress.emplace(config.stage, config.train.steps);
  if (state_.step == 0) measure_ranks();
  if (state_.unobserved) make_up_for_observers();
  while (state_.step < config.train.steps) {
    if (on_step) on_step(state_.step + 1);
    run_step(profiler);
    if (progress) progress->update(state_.step, formatted("loss {:.4g}", last_.loss()));
    stop_if_asked();
  }
}

/// One step: an update of every player whose turn it is, in the order of the roles; then what is
/// measured and written after it. The step's seconds are those of the updates.
void Trainer::run_step(Profiler& profiler) {
  profiler.step_begins();
  timer_.start();
  parts_.mesh.reset_counters();
  reset_tensor_peak(at::Device(parts_.config.train.device));
  for (auto& [name, figures] : last_.players) figures.updated = false;
  if (const ClipShape clip = parts_.data.next_clip_shape(); work_of_ != clip) {
    work_ = clip_work(parts_, clip);
    work_of_ = clip;
  }
  // Until the first player's optimizer writes, the state is that of the step before.
  changing_.unlock();
  const auto before_writing = [this] {
    if (!changing_.owns_lock()) changing_.lock();
    saver_.before_update();
  };
  for (RoleState& player : parts_.roles.states) {
    const Role& role = player.role;
    if (!role.is_updated_at(state_.step)) continue;
    last_.players[role.name] = update_.run(player,
                                           state_,
                                           {.stop_asked = io::GracefulStop::is_asked(),
                                            .before_micro_batch = [this] { before_micro_batch(); },
                                            .before_writing = before_writing});
  }
  if (!changing_.owns_lock()) changing_.lock();
  ++state_.step;
  last_.seconds = timer_.stop();
  last_.phase_seconds = timer_.phases();
  measure_memory();
  profiler.step_ended();
  seconds_trained_ += last_.seconds;
  step_seconds_.push_back(last_.seconds);
  observe();
}

template <class Work>
void Trainer::while_still(const Work& work) {
  changing_.unlock();
  work();
  changing_.lock();
}

/// On several ranks, in steps that are long: drops the step if a signal came to any of them and
/// nothing has been written yet. Collective.
void Trainer::before_micro_batch() {
  if (parts_.mesh.shape().world == 1 || !steps_are_long_ || changing_.owns_lock()) return;
  if (!parts_.mesh.everywhere(!io::GracefulStop::is_asked())) throw StepDropped();
}

/// While the state is still: stops if a signal came to any rank. Collective.
void Trainer::look_for_stop() {
  stop_->look();
}

/// Where a stop was asked for: saves and throws StopRequested. All ranks stop after the same step,
/// because on several ranks the request counts only once the update's sums have told it to all of
/// them.
void Trainer::stop_if_asked() {
  if (state_.step >= parts_.config.train.steps) return;
  if (parts_.mesh.shape().world == 1) {
    while_still([this] { look_for_stop(); });
  } else if (update_.stop_agreed()) {
    changing_.unlock();
    stop_->stop();
  }
}

/// Saves the state as it is, and says so. For the thread that trains while nothing changes, or for
/// another, which waits until that is so. Collective.
std::string Trainer::save_at_stop() {
  const std::lock_guard still(still_mutex_);
  const int64_t steps = parts_.config.train.steps;
  state_.unobserved = unobserved_;
  if (unobserved_) record();
  if (state_.step > 0) save();
  saver_.finish();
  if (state_.step == 0)
    return formatted("no step of {} was made; run the same command again", steps);
  return formatted("saved step {} of {} in {}; run the same command again to go on",
                   state_.step,
                   steps,
                   parts_.run_dir.string());
}

/// Takes the peak of the step's tensors; after the first step logs it beside the predicted one.
void Trainer::measure_memory() {
  last_.tensor_peak_bytes = tensor_bytes(at::Device(parts_.config.train.device)).peak;
  if (tensor_peak_bytes_ == 0 && parts_.mesh.is_lead()) {
    log::info("memory of the first step: {}",
              memory_comparison(predicted_bytes_, last_.tensor_peak_bytes));
  }
  tensor_peak_bytes_ = std::max(tensor_peak_bytes_, last_.tensor_peak_bytes);
}

/// Writes the last step's line to the log, unless that is done.
void Trainer::record() {
  if (!unrecorded_) return;
  const bool validated = last_.validated_step == state_.step;
  if (log_) log_->record(state_.step, last_, work_, *unrecorded_, validated);
  unrecorded_.reset();
}

/// The observers. `step` counts finished steps; intervals are those of the configuration, and due()
/// is also true at the last step.
void Trainer::observe() {
  const TrainConfig& config = parts_.config;
  const int64_t step = state_.step, steps = config.train.steps;
  unrecorded_ = times_and_traffic();
  unobserved_ = true;
  if (due(config.validation.every, step, steps) && parts_.data.held_out()) run_validation();
  record();
  if (due(config.rank.every, step, steps)) measure_ranks();
  if (due(config.sample.every, step, steps) && !config.sample.prompts.empty()) write_samples();
  unobserved_ = false;
  if (due(config.checkpoint.every, step, steps) || step == steps) save();
}

/// The observers of the step that the run goes on from, where a signal had come before they were
/// through. Collective.
void Trainer::make_up_for_observers() {
  const TrainConfig& config = parts_.config;
  const int64_t step = state_.step, steps = config.train.steps;
  unobserved_ = true;
  const auto missing = [&](bool here) { return !parts_.mesh.everywhere(!here); };
  const bool validates = due(config.validation.every, step, steps) && parts_.data.held_out();
  if (missing(validates && log_ && !log_->has_validated(step))) {
    run_validation();
    if (log_) log_->record_validation(step, last_);
  }
  if (due(config.rank.every, step, steps)) measure_ranks();
  if (due(config.sample.every, step, steps) && !config.sample.prompts.empty()) write_samples();
  unobserved_ = false;
  state_.unobserved = false;
}

/// How long the step waited for a save; on several ranks also what this rank sent and how long it
/// waited, and by how much the ranks' own work differed (step_time_spread): all ranks end a step
/// together, so a slow one shows in that it waited less. Collective.
MetricValues Trainer::times_and_traffic() {
  MetricValues values;
  // This is the wait for a save that an earlier step began.
  if (const double waited = saver_.take_waited_seconds(); waited > 0)
    values.emplace_back("time_save", waited);
  if (parts_.mesh.shape().world == 1) return values;
  const distributed::CommCounters sent = parts_.mesh.counters();
  values.emplace_back("comm_bytes", sent.bytes());
  values.emplace_back("comm_calls", static_cast<double>(sent.calls()));
  values.emplace_back("time_comm_exposed", sent.exposed_seconds);
  values.emplace_back("time_comm_hidden", std::max(0.0, sent.busy_seconds - sent.exposed_seconds));
  // The largest and, as the negated largest of the negated, the smallest own time in one
  // collective.
  const double own = last_.seconds - sent.exposed_seconds;
  const at::Tensor ends = at::tensor({own, -own, last_.seconds}, at::kDouble);
  parts_.mesh.host().all_reduce(ends, distributed::ReduceOp::kMax).wait();
  steps_are_long_ = ends[2].item<double>() > kLongStepSeconds;
  values.emplace_back("step_time_spread", (ends[0] + ends[1]).item<double>());
  return values;
}

/// Of the weights as they are now. Collective.
void Trainer::measure_ranks() {
  const auto begin = std::chrono::steady_clock::now();
  parts_.roles.make_room_for_step();  // latents are measured in the trained weights
  ranks_.measure(state_.step, parts_.roles, parts_.data.held_out());
  const analysis::RankLog& ranks = ranks_.log();
  if (log_ && !ranks.steps().empty() && ranks.steps().back() == state_.step)
    log_->record_ranks(ranks);
  rank_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void Trainer::run_validation() {
  parts_.roles.make_room_for_best();
  const NetworkTable networks = parts_.roles.networks(parts_.config);
  ValidationResult result;
  while_still([&] {
    result = validate(parts_.config,
                      update_.micro_batch(),
                      parts_.objective,
                      networks,
                      parts_.roles.best().role.name,
                      *parts_.data.held_out(),
                      parts_.data.shared_inputs(),
                      parts_.mesh,
                      [this] { look_for_stop(); });
  });
  last_.validation_loss = result.loss;
  last_.validation_by_time = result.loss_by_time;
  last_.validated_step = state_.step;
}

/// Samples sample.prompts into samples/step_N. The ranks divide the prompts among them. Collective.
void Trainer::write_samples() {
  const at::NoGradGuard no_grad;
  const SampleConfig& sample = parts_.config.sample;
  const ObjectiveTraits traits = objective_traits(parts_.config.objective);
  const VideoSampler& sampler = parts_.sampler;
  VideoSampler::Request request{
      .prompts = {},
      .latent_frames = sampler.latent_frames_for(parts_.config.model, sample.frames),
      .sampler = sampler_settings(sample, traits),
      .negative_prompt = sample.negative_prompt,
      .batch = 1,
      .erase_cache = false,
      .device = at::Device(parts_.config.train.device),
      .noise_PFCHW = {},
      .before_pass = [this] { look_for_stop(); }};
  for (const std::string& prompt : sample_prompts(sample)) {
    const auto place = static_cast<uint32_t>(request.prompts.size());
    request.prompts.push_back(
        {.text = prompt, .seed = static_cast<uint64_t>(sample.seed), .place = place});
  }
  parts_.roles.make_room_for_best();
  const model::Network network = parts_.roles.network(parts_.roles.best());
  const auto folder = parts_.run_dir / "samples" / formatted("step_{}", state_.step);
  std::vector<std::filesystem::path> files;
  while_still([&] {
    const SampleFolder out{.path = folder, .pixel_frames = sample.frames};
    for (const std::string& entry : sample_to_folder(parts_.mesh, sampler, network, request, out))
      files.push_back(folder / file_of_entry(entry));
  });
  if (log_) log_->record_samples(state_.step, files, parts_.data.media());
}

/// Saves the step's checkpoint and the ranks measured so far, unless that is done already: a stop
/// may be asked for after a step that was to be saved anyway.
void Trainer::save() {
  if (saver_.has_saved(state_.step)) return;
  ranks_.write();
  saver_.save(parts_.roles, state_, parts_.data.media());
}

double Trainer::median_step_seconds() const {
  if (step_seconds_.empty()) return 0;
  std::vector<double> sorted = step_seconds_;
  const auto middle = sorted.begin() + static_cast<long>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

}  // namespace vmla::trainer
