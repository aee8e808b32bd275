#include "trainer/planner/planned_step.h"

#include "trainer/config/rank_arrangement.h"
#include "trainer/distributed/collectives/update_report.h"
#include "trainer/inputs/sizes_only_batch.h"
#include "trainer/inputs/stage_codec.h"
#include "trainer/objectives/objective.h"
#include "trainer/planner/phase_watch.h"
#include "trainer/planner/sizes_only.h"
#include "trainer/roles/stage_precision.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <deque>
#include <utility>

namespace vmla::trainer {
namespace {

const at::Device kMeta(at::kMeta);

int64_t live_bytes() {
  return tensor_bytes(kMeta).live;
}

// `count` times the calls and bytes between two readings; seconds mean nothing in a plan.
distributed::CommCounters times(const distributed::CommCounters& after,
                                const distributed::CommCounters& before,
                                int64_t count) {
  distributed::CommCounters sent;
  for (size_t i = 0; i < distributed::kCollectives; ++i) {
    sent.by_kind[i].calls = count * (after.by_kind[i].calls - before.by_kind[i].calls);
    sent.by_kind[i].bytes =
        static_cast<double>(count) * (after.by_kind[i].bytes - before.by_kind[i].bytes);
  }
  return sent;
}
/// `count` times what was sent between two readings.
SentBytes times(const SentBytes& after, const SentBytes& before, int64_t count) {
  return {times(after.all, before.all, count), times(after.tokens, before.tokens, count)};
}

/// The stage's step without data: its roles, its objective, and batches of its sizes. Follows
/// PlayerUpdate::run in what it calls and in which order.
class SizesOnlyStage {
 public:
  SizesOnlyStage(const TrainConfig& config,
                 const std::vector<PlannedRole>& roles,
                 const PlannedMedia& media,
                 const distributed::Mesh& mesh,
                 model::ExecutedWork* work)
      : config_(config),
        mesh_(mesh),
        work_(work),
        clip_(media.clip),
        text_rows_(media.text_rows > 0 ? media.text_rows : config.model.text_len),
        objective_(make_objective(config.objective, config.model)),
        start_(live_bytes()),
        codec_(sizes_only_codec(config, media.codec)),
        codec_bytes_(live_bytes() - start_),
        set_(sizes_only_roles(config, roles, mesh)),
        networks_(watched_networks(set_.networks(config), watched_)) {
    objective_->use_codec(codec_);
    // A CPU computes with weights of fp32 where their file is mapped, save for a few.
    if (config.train.device == "cpu" && codec_options(config).precision == "fp32")
      elsewhere_ += std::exchange(codec_bytes_, 0);
    for (const PlannedRole& role : roles) {
      const RoleBytes bytes = role_bytes(config, role, mesh.shape());
      elsewhere_ += bytes.mapped + bytes.on_host;
    }
  }

  /// What the stage's tensors hold on its device. On the meta device everything is counted; what a
  /// real run keeps in mapped files or in the host's memory is taken off.
  int64_t held() const { return live_bytes() - start_ - elsewhere_; }

  model::TensorMap batch() const { return sizes_only_batch(config_, clip_, text_rows_); }

  UpdateMemory update(const std::string& player) {
    UpdateMemory memory;
    memory.player = player;
    mesh_.reset_counters();
    make_compute_copies();
    model::TrainedWeights& weights = *set_.at(player).weights;
    weights.zero_gradients();
    PhaseWatch watch(player, work_);
    NetworkPhases phases(player, watch);
    for (WatchedWeights& watched : watched_) watched.phases = &phases;
    distributed::UpdateReport report;
    // The first micro-batch gathers what stays, the last one sums the gradients: those between them
    // send the same, so that one stands for all of them. Where nothing is sent one micro-batch is
    // enough, for each needs the same memory.
    const int64_t count =
        std::max<int64_t>(1, config_.train.batch_size / config_.train.micro_batch_size);
    const int64_t runs = mesh_.shape().world > 1 ? std::min<int64_t>(count, 3) : 1;
    SentBytes before = reading();
    for (int64_t run = 0; run < runs; ++run) {
      micro_batch(memory, phases, report, run + 1 == runs);
      const SentBytes after = reading();
      if (run == 1 && runs == 3) memory.sent += times(after, before, count - runs);
      before = after;
    }
    for (WatchedWeights& watched : watched_) watched.phases = nullptr;
    weights.finish_gradients();
    memory.phases = watch.finish();
    for (PlannedPhase& phase : memory.phases)
      phase.executed =
          phase.executed.scaled(static_cast<double>(count) / static_cast<double>(runs));
    report.squared_norm = report.loss = at::empty({}, at::device(kMeta).dtype(at::kDouble));
    const distributed::UpdateReduction reduction(mesh_, weights.copies(), std::move(report));
    memory.sent += reading();
    // Moments and then averages come from the host's memory; on the device they need nothing.
    int64_t room = set_.at(player).optimizer->room_for_moments();
    for (const RoleState& state : set_.states) {
      if (state.role.follows(player) && is_offloaded(config_, state.role.name))
        room = std::max(room, room_to_move(*state.weights));
    }
    const int64_t with_room = held() + room;
    const auto executed = work_ != nullptr ? optimizer_work(player) : model::ExecutedWork::Count{};
    end_update(player);
    // Phases were measured as all that lives on the meta device.
    for (PlannedPhase& phase : memory.phases) phase.peak_bytes -= start_ + elsewhere_;
    if (room > 0 || work_ != nullptr)
      memory.phases.push_back({player + " optimizer", with_room, executed});
    for (const PlannedPhase& phase : memory.phases) {
      memory.peak_bytes = std::max(memory.peak_bytes, phase.peak_bytes);
    }
    return memory;
  }

  const RoleSet& roles() const { return set_; }
  int64_t codec_bytes() const { return codec_bytes_; }

 private:
  /// Forward and backward of some clips.
  void micro_batch(UpdateMemory& memory,
                   NetworkPhases& phases,
                   distributed::UpdateReport& report,
                   bool is_last) {
    const int64_t before = held();
    model::TensorMap inputs = batch();
    inputs.merge(sizes_only_shared_inputs(config_, text_rows_));
    inputs.merge(sizes_only_draws(objective_->draw_specs(memory.player, clip_),
                                  config_.train.micro_batch_size));
    for (auto& [name, tensor] : inputs) {
      if (tensor.is_floating_point()) tensor = tensor.to(input_dtype(config_));
    }
    memory.input_bytes = held() - before;
    const int64_t ready = held();
    // The loop's own handling of a loss: a micro-batch's share of it is back-propagated at once.
    // The factor is one here; that it makes a tensor is what counts.
    objective_->evaluate(memory.player,
                         inputs,
                         networks_,
                         model::GradMode::kFull,
                         [&](const LossTerms& terms, bool last) {
                           memory.kept_bytes = std::max(memory.kept_bytes, held() - ready);
                           for (const auto& [name, value] : terms.metrics)
                             report.metrics[name] = value;
                           phases.backward_begins();
                           if (last && is_last)
                             set_.at(memory.player).weights->begin_last_backward();
                           (terms.total * 1.0).backward();
                           phases.backward_ended();
                         });
  }

  SentBytes reading() const { return {mesh_.counters(), mesh_.sequence().counters()}; }

  /// A network's first call makes its copies in the compute dtype, and gathers what stays gathered.
  /// Done before the phases, so that no phase's peak depends on which of them was first.
  void make_compute_copies() {
    for (RoleState& state : set_.states) {
      if (!state.weights || state.uploaded || !state.role.computes) continue;
      if (mesh_.shape().shard > 1 && !stays_gathered(config_, state.role)) continue;
      for (const int64_t unit : state.weights->units()) {
        state.weights->acquire(unit);
        state.weights->release(unit);
      }
    }
  }

  /// What PlayerUpdate::run executes behind the gradients: their norm, AdamW, and the averages.
  model::ExecutedWork::Count optimizer_work(const std::string& player) {
    RoleState& state = set_.at(player);
    work_->take();
    const at::Tensor loss = at::empty({}, at::device(kMeta).dtype(at::kDouble));
    const OptimizerConfig& optimizer =
        state.role.optimizer ? *state.role.optimizer : config_.optimizer;
    const at::Tensor scale =
        clip_factor(squared_gradient_norm(*state.weights).sqrt(), loss, optimizer.max_grad_norm);
    const std::vector<MovingAverage> averages = set_.averages_of(player, 0);
    const MovingAverage* beside = average_beside(*state.weights, averages);
    state.optimizer->step(*state.weights, /*lr=*/0, scale, beside);
    for (const MovingAverage& average : averages) {
      if (&average != beside) update_average(average, *state.weights);
    }
    return work_->take();
  }

  /// The update has changed the player's masters and those of its averages: what was gathered of
  /// them is dropped.
  void end_update(const std::string& player) {
    for (RoleState& state : set_.states) {
      if (state.role.name != player && !state.role.follows(player)) continue;
      state.weights->masters_and_copies_changed();
      if (state.uploaded) state.uploaded->forget();
    }
  }

  const TrainConfig& config_;
  const distributed::Mesh& mesh_;
  model::ExecutedWork* const work_;
  ClipShape clip_;
  int64_t text_rows_;
  std::unique_ptr<Objective> objective_;
  int64_t start_;          // bytes on the meta device before the stage
  int64_t elsewhere_ = 0;  // of roles and codec: mapped, or in the host's memory
  std::shared_ptr<const model::VideoCodec> codec_;
  int64_t codec_bytes_;
  RoleSet set_;
  std::deque<WatchedWeights> watched_;
  NetworkTable networks_;
};

}  // namespace

SentBytes& SentBytes::operator+=(const SentBytes& other) {
  all += other.all;
  tokens += other.tokens;
  return *this;
}

double StepMemory::cycle_bytes() const {
  double sum = 0;
  for (const UpdateMemory& update : updates)
    sum += update.sent.all.bytes() +
           static_cast<double>(cycle_steps - 1) * update.sent_between.all.bytes();
  return sum;
}

const PlannedPhase& UpdateMemory::highest() const {
  return *std::ranges::max_element(phases, {}, &PlannedPhase::peak_bytes);
}

StepMemory planned_step(const TrainConfig& config,
                        const std::vector<PlannedRole>& roles,
                        const PlannedMedia& media,
                        const distributed::Mesh& mesh,
                        model::ExecutedWork* work) {
  count_tensor_bytes();
  allow_sizes_only_steps();
  SizesOnlyStage stage(config, roles, media, mesh, work);
  StepMemory memory;
  memory.codec_bytes = stage.codec_bytes();
  for (const PlannedRole& role : roles)
    memory.resident_bytes += role_bytes(config, role, mesh.shape()).held();
  const int64_t before_loader = stage.held();
  std::vector<model::TensorMap> read_ahead;
  if (config.train.device == "cpu") {
    for (int64_t i = 0; i < config.data.prefetch_batches; ++i) read_ahead.push_back(stage.batch());
  }
  memory.loader_bytes = stage.held() - before_loader;
  const auto step = [&](bool all) {
    std::vector<UpdateMemory> updates;
    for (const RoleState& state : stage.roles().states) {
      if (state.role.training != Training::kTrained || (!all && state.role.update_every > 1))
        continue;
      updates.push_back(stage.update(state.role.name));
      memory.peak_bytes = std::max(memory.peak_bytes, updates.back().peak_bytes);
    }
    return updates;
  };
  for (const PlannedRole& role : roles)
    memory.cycle_steps = std::max(memory.cycle_steps, role.role.update_every);
  // The first steps are not recorded (but for their peak): they leave behind what every later step
  // finds, which are prepared plans, rotary tables and gathered weights. Where not every player is
  // updated in every step and something is sent, both kinds of steps run in the order of a cycle,
  // for which weights are still gathered depends on the step before.
  const bool alternates = mesh.shape().world > 1 && memory.cycle_steps > 1;
  step(true);
  if (alternates) step(false);
  memory.updates = step(true);
  if (stage.roles().activations)
    memory.host_activation_bytes = stage.roles().activations->host_bytes();
  if (!alternates) return memory;
  for (const UpdateMemory& between : step(false))
    std::ranges::find(memory.updates, between.player, &UpdateMemory::player)->sent_between =
        between.sent;
  return memory;
}

}  // namespace vmla::trainer
