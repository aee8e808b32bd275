#include "model/network/attention_plan.h"
#include "trainer/objectives/dmd_objective.h"
#include "trainer/objectives/phase_flops.h"

namespace vmla::trainer {

std::vector<PhaseFlops> Dmd::training_flops(const ClipShape& clip, const RoleModels& models) const {
  // The mean over the lengths that a rollout may have, which are equally likely.
  const auto [least, most] = rollout_range(clip);
  const int64_t lengths = (most - least) / model_.num_frame_per_block + 1;
  std::vector<PhaseFlops> sum;
  for (int64_t i = 0; i < lengths; ++i) {
    const auto phases = update_flops(clip, least + i * model_.num_frame_per_block, models);
    if (sum.empty()) sum = phases;
    for (size_t p = 0; i > 0 && p < phases.size(); ++p) sum[p].flops += phases[p].flops;
  }
  for (PhaseFlops& phase : sum) phase.flops /= static_cast<double>(lengths);
  return sum;
}

// An update of the critic is one rollout, and forward and backward of the fake score; one of the
// generator is another rollout, the scores, and the exit passes of the trained chunks once more
// with gradients. Straight through, the rollout's own exit passes have the gradients, so nothing is
// replayed (docs/algorithms.md 15.2).
std::vector<PhaseFlops> Dmd::update_flops(const ClipShape& clip,
                                          int64_t frames,
                                          const RoleModels& models) const {
  const model::ModelConfig& student = models.at("generator");
  const auto grid = model::token_grid(student, clip.height, clip.width);
  const auto scored = windows(frames, clip.frames);
  // Denoising passes of a chunk: the exit index is uniform, so (steps + 1) / 2 on average.
  const auto passes = [&](const std::vector<double>& steps) {
    const auto count = static_cast<double>(steps.size());
    return config_.last_step_only ? count : (count + 1) / 2;
  };
  double rollout = 0, trained = 0;
  int64_t first = 0;
  for (const int64_t count : model::chunk_sizes(student, frames)) {
    const auto plan =
        model::cached_plan(student, model::attended_context(student, first, count), first, count);
    const double pass = model::forward_flops(student, plan, grid.tokens()).total();
    // The context pass, which the last chunk does not need, counts as a whole pass.
    const double fill = first + count < frames ? 1 : 0;
    rollout += pass * (passes(first == 0 ? first_steps_ : steps_) + fill);
    first += count;
    if (first > scored.front().gradient_begin) trained += pass;
  }
  double fake = 0, real = 0;
  for (const ScoredWindow& window : scored) {
    const auto plan = model::bidirectional_plan(window.frames());
    fake += plan_flops(models.at("fake_score"), plan, clip);
    real += plan_flops(models.at("real_score"), plan, clip);
  }
  const double guided = config_.guidance_scale == 0.0 ? 1 : 2;
  const double replay = config_.kv_grad == "straight_through" ? 0 : trained;
  const int64_t every = config_.dfake_gen_update_ratio;
  return {{"rollout", "generator", rollout, "generator", every},
          {"scores", "fake_score", fake, "generator", every},
          {"scores", "real_score", guided * real, "generator", every},
          {"forward", "generator", replay, "generator", every},
          {"backward", "generator", 2 * trained, "generator", every},
          {"rollout", "generator", rollout, "fake_score"},
          {"forward", "fake_score", fake, "fake_score"},
          {"backward", "fake_score", 2 * fake, "fake_score"}};
}

}  // namespace vmla::trainer
