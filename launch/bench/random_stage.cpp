#include "launch/bench/random_stage.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "trainer/config/rank_arrangement.h"
#include "trainer/config/stage_roles.h"
#include "trainer/inputs/sizes_only_batch.h"
#include "trainer/inputs/stage_codec.h"
#include "trainer/planner/planned_roles.h"

namespace vmla::launch::bench {
namespace {

using namespace trainer;

/// Normal values of the sizes of `like`, a tensor of the meta device; on the CPU.
at::Tensor random_like(const at::Tensor& like) {
  return at::randn(like.sizes(), at::kFloat);
}

/// The same random batch each time.
class RandomClips final : public BatchSource {
 public:
  RandomClips(const TrainConfig& config, const PlannedMedia& media) : clip_(media.clip) {
    batch_ = sizes_only_batch(config, media.clip, media.text_rows);
    batch_.merge(sizes_only_shared_inputs(config, media.text_rows));
    for (auto& [name, tensor] : batch_) tensor = random_like(tensor);
  }
  ClipShape next_clip_shape() const override { return clip_; }
  model::TensorMap next(int64_t, int64_t, int64_t) override { return batch_; }

 private:
  ClipShape clip_;
  model::TensorMap batch_;
};

/// The stage on one rank, without what happens beside its steps.
TrainConfig steps_alone(const TrainConfig& config) {
  TrainConfig alone = of_one_rank(config, {});
  alone.sample.every = alone.sample.measure_clips = alone.sample.long_frames = 0;
  return alone;
}

PlannedMedia media_of(const TrainConfig& config) {
  PlannedMedia media = planned_media(config);
  if (media.text_rows == 0) media.text_rows = config.model.text_len;
  return media;
}

std::unique_ptr<Objective> objective_of(const TrainConfig& config, const PlannedMedia& media) {
  auto objective = make_objective(config.objective, config.model);
  objective->check_clip(media.clip);
  if (media.codec.empty()) return objective;
  objective->use_codec(
      stage_codec(config, MediaInfo{.codec = media.codec, .text_encoder = {}, .clip = media.clip}));
  return objective;
}

RoleSet random_roles(const TrainConfig& config) {
  const at::Device device(config.train.device);
  RoleSet set;
  for (const PlannedRole& planned : planned_roles(config, stage_roles(config))) {
    set.states.push_back(make_role_state(config,
                                         planned.role,
                                         planned.config,
                                         random_tensors(planned.config, device),
                                         device,
                                         distributed::Mesh()));
  }
  set.activations = host_activations(config, device);
  return set;
}

}  // namespace

model::TensorMap random_tensors(const model::ModelConfig& config, at::Device device) {
  const auto options = at::device(device).dtype(at::kFloat);
  model::TensorMap tensors;
  for (const int64_t unit : model::all_units(config)) {
    for (const model::TensorSpec& spec : model::unit_layout(config, unit)) {
      const bool is_gain =
          spec.name.find("norm") != std::string::npos && spec.name.ends_with("weight");
      if (spec.shape.size() == 1) {
        tensors[spec.name] =
            is_gain ? at::ones(spec.shape, options) : at::zeros(spec.shape, options);
        continue;
      }
      const int64_t inputs = spec.numel / spec.shape.front();
      const auto fan_in = static_cast<double>(inputs);
      tensors[spec.name] = at::randn(spec.shape, options).mul_(1 / std::sqrt(fan_in));
    }
  }
  return tensors;
}

RandomStage::RandomStage(const TrainConfig& config)
    : config_(steps_alone(config)),
      media_(media_of(config_)),
      objective_(objective_of(config_, media_)),
      roles_(random_roles(config_)),
      clips_(std::make_unique<RandomClips>(config_, media_)),
      timer_(at::Device(config_.train.device)),
      update_({.config = config_,
               .run_dir = folder_,
               .objective = *objective_,
               .roles = roles_,
               .data = *clips_,
               .mesh = mesh_,
               .timer = timer_}) {}

void RandomStage::step(const std::function<void()>& before_writing) {
  timer_.start();
  for (RoleState& player : roles_.states) {
    if (!player.role.is_updated_at(state_.step)) continue;
    update_.run(player,
                state_,
                {.stop_asked = false, .before_micro_batch = {}, .before_writing = before_writing});
  }
  ++state_.step;
  timer_.stop();
  for (const auto& [phase, seconds] : timer_.phases()) phases_[phase] += seconds;
}

void RandomStage::cycle(const std::function<void()>& before_writing) {
  phases_.clear();
  for (int64_t i = 0; i < cycle_steps(); ++i) step(before_writing);
}

int64_t RandomStage::cycle_steps() const {
  int64_t steps = 1;
  for (const RoleState& state : roles_.states) steps = std::max(steps, state.role.update_every);
  return steps;
}

double RandomStage::cycle_flops() const {
  return total_flops(objective_->training_flops(media_.clip, roles_.models())) *
         static_cast<double>(config_.train.batch_size * cycle_steps());
}

}  // namespace vmla::launch::bench
