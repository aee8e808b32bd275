#include "model/network/attention_plan.h"
#include "model/network/flops.h"
#include "model/network/token_grid.h"
#include "model/weights/weights.h"
#include "tests/model/rebuilding_flops.h"
#include "tests/trainer/drawn_stage.h"
#include "trainer/config/stage_roles.h"
#include "trainer/objectives/objective.h"
#include "trainer/planner/planned_step.h"

#include <gtest/gtest.h>

#include <map>
#include <ostream>

namespace vmla::trainer {
namespace {

struct Stage {
  const char* file;
  const char* objective;
};
void PrintTo(const Stage& stage, std::ostream* out) {
  *out << stage.file << ", " << stage.objective;
}

class PlannedArithmetic : public testing::TestWithParam<Stage> {
 protected:
  static TrainConfig config(const char* recompute) {
    const Stage& stage = GetParam();
    TrainConfig config = load_config(formatted("{}/{}", VMLA_CONFIG_DIR, stage.file), {});
    config.init_from.clear();
    config.objective.name = stage.objective;
    config.train.recompute = recompute;
    // Every rollout is as long as the plan assumes and runs all its steps.
    config.objective.dmd.last_step_only = true;
    config.objective.dmd.min_rollout_frames = config.objective.dmd.max_rollout_frames;
    return config;
  }
  static StepMemory plan(const TrainConfig& config) {
    model::ExecutedWork work(at::kMeta);
    return planned_step(config,
                        planned_roles(config, stage_roles(config)),
                        planned_media(config),
                        distributed::Mesh(),
                        &work);
  }
};

/// The name that a plan has for a phase of the model's arithmetic.
std::string planned_name(const PhaseFlops& part) {
  if (part.phase == "forward" || part.phase == "backward") return part.role + " " + part.phase;
  return part.role + (part.role == part.player ? " rollout" : " without gradient");
}

/// The passes of the player in one clip's update that are back-propagated.
std::vector<model::AttentionPlan> trained_passes(const TrainConfig& stage,
                                                 const std::string& player,
                                                 int64_t frames) {
  const model::ModelConfig& m = stage.model;
  const std::string& objective = stage.objective.name;
  if (objective == "flow_matching" || player == "fake_score")
    return {model::bidirectional_plan(frames)};
  if (objective == "diffusion_forcing") return {model::chunk_causal_plan(m, frames)};
  if (objective != "dmd") return {model::teacher_forcing_plan(m, frames)};
  // Chunks of the rollout's last clip; where the rollout is longer, without that clip's first.
  const int64_t rollout = std::max(frames, stage.objective.dmd.max_rollout_frames);
  const int64_t trained_from = rollout > frames ? rollout - frames + m.num_frame_per_block : 0;
  std::vector<model::AttentionPlan> plans;
  int64_t first = 0;
  for (const int64_t count : model::chunk_sizes(m, rollout)) {
    if (first >= trained_from) {
      plans.push_back(
          model::cached_plan(m, model::attended_context(m, first, count), first, count));
    }
    first += count;
  }
  return plans;
}

/// What a backward does not compute: gradients of the patches, of the times' sinusoids and of the
/// text, which are no weights.
double unneeded_gradients(const model::ModelConfig& config,
                          const model::AttentionPlan& plan,
                          int64_t tokens) {
  const auto width = static_cast<double>(config.dim);
  const int64_t patch =
      config.patch_size[0] * config.patch_size[1] * config.patch_size[2] * config.in_dim;
  return 2 * width *
         static_cast<double>(plan.sequence_frames() * (tokens * patch + config.freq_dim) +
                             config.text_len * config.text_dim);
}

/// training_flops is arithmetic over sizes; a plan runs the step on tensors without data and counts
/// what the dispatcher sees. Whole numbers below 2^53: they must be equal.
TEST_P(PlannedArithmetic, IsWhatTheObjectiveSays) {
  const TrainConfig stage = config("none");
  const PlannedMedia media = planned_media(stage);
  const auto objective = make_objective(stage.objective, stage.model);
  const RoleModels models = role_models(planned_roles(stage, stage_roles(stage)));
  const auto clips = static_cast<double>(stage.train.batch_size);
  std::map<std::string, std::map<std::string, double>> wanted;
  std::map<std::string, Role> roles;
  for (const Role& role : stage_roles(stage)) roles.emplace(role.name, role);
  for (const PhaseFlops& part : objective->training_flops(media.clip, models)) {
    wanted[part.player][planned_name(part)] += clips * part.flops;
    // The log finds a phase's seconds by this name, and the step by this number.
    if (part.phase != "forward" && part.phase != "backward") {
      EXPECT_EQ(part.phase, roles.at(part.role).passes);
    }
    EXPECT_EQ(part.update_every, roles.at(part.player).update_every);
  }
  for (const UpdateMemory& update : plan(stage).updates) {
    const model::ModelConfig& sizes = models.at(update.player);
    const int64_t tokens = model::token_grid(sizes, media.clip.height, media.clip.width).tokens();
    double rebuilt = 0, unneeded = 0;
    for (const auto& pass : trained_passes(stage, update.player, media.clip.frames)) {
      rebuilt += clips * model::rebuilding_flops(sizes, pass, tokens);
      unneeded += clips * unneeded_gradients(sizes, pass, tokens);
    }
    for (const PlannedPhase& phase : update.phases) {
      SCOPED_TRACE(update.player + ": " + phase.name);
      if (phase.name.ends_with("optimizer")) continue;  // no products
      const double model_flops = wanted[update.player][phase.name];
      const bool is_latent_pass =
          phase.name.starts_with("teacher") || phase.name.starts_with("target_ema");
      if (phase.name.ends_with("backward")) {
        EXPECT_EQ(phase.executed.flops(), model_flops + 2 * rebuilt - unneeded);
      } else if (phase.name.ends_with("forward") || is_latent_pass) {
        EXPECT_EQ(phase.executed.flops(), model_flops + rebuilt);
      } else if (models.at(phase.name.substr(0, phase.name.find(' '))).is_mla()) {
        // A rollout: a context pass counts as a whole one, though it stops in the last layer, and
        // every pass counts the text's keys and values, which are computed once.
        EXPECT_LT(phase.executed.flops(), model_flops);
        EXPECT_GT(phase.executed.flops(), 0.95 * model_flops);
      } else {
        EXPECT_EQ(phase.executed.flops(), model_flops);
      }
      wanted[update.player].erase(phase.name);
    }
    EXPECT_TRUE(wanted[update.player].empty());
  }
}

/// With all of a block computed again a backward executes the blocks' forward too.
TEST_P(PlannedArithmetic, HasWhatIsComputedAgain) {
  const TrainConfig stage = config("none");
  const StepMemory plain = plan(stage), again = plan(config("block"));
  for (size_t i = 0; i < plain.updates.size(); ++i) {
    const auto flops = [&](const StepMemory& of, const char* phase) {
      const UpdateMemory& update = of.updates[i];
      return std::ranges::find(update.phases, update.player + phase, &PlannedPhase::name)
          ->executed.flops();
    };
    EXPECT_EQ(flops(again, " forward"), flops(plain, " forward"));
    const double added = flops(again, " backward") - flops(plain, " backward");
    // All units run again, the root and the head too.
    EXPECT_EQ(added, flops(plain, " forward"));
  }
}

/// Every micro-batch starts the same kernels again, which move as much.
TEST_P(PlannedArithmetic, GrowsWithTheMicroBatches) {
  TrainConfig stage = config("none");
  stage.train.micro_batch_size = 2;
  stage.train.batch_size = 2;
  const StepMemory once = plan(stage);
  stage.train.batch_size = 6;
  const StepMemory thrice = plan(stage);
  for (size_t i = 0; i < once.updates.size(); ++i) {
    for (const PlannedPhase& phase : once.updates[i].phases) {
      SCOPED_TRACE(phase.name);
      const auto same =
          std::ranges::find(thrice.updates[i].phases, phase.name, &PlannedPhase::name);
      ASSERT_NE(same, thrice.updates[i].phases.end());
      const int64_t times = phase.name.ends_with("optimizer") ? 1 : 3;
      EXPECT_GT(phase.executed.kernels, 0);
      EXPECT_EQ(same->executed.kernels, times * phase.executed.kernels);
      EXPECT_EQ(same->executed.bytes, static_cast<double>(times) * phase.executed.bytes);
      EXPECT_EQ(same->executed.flops(), static_cast<double>(times) * phase.executed.flops());
    }
  }
}

/// One pass over gradients for their norm, and one over all buffers that AdamW and the average
/// touch.
TEST_P(PlannedArithmetic, CountsTheOptimizersPasses) {
  const TrainConfig stage = config("none");
  const RoleModels models = role_models(planned_roles(stage, stage_roles(stage)));
  const bool rounds = stage.train.precision == "bf16";
  for (const UpdateMemory& update : plan(stage).updates) {
    SCOPED_TRACE(update.player);
    const PlannedPhase& phase = update.phases.back();
    ASSERT_EQ(phase.name, update.player + " optimizer");
    const auto numbers = static_cast<double>(model::parameter_count(models.at(update.player)));
    double averaged = 0, beta1 = stage.optimizer.betas[0];
    for (const Role& role : stage_roles(stage)) {
      if (role.follows(update.player)) averaged += 1;
      if (role.name == update.player && role.optimizer) beta1 = role.optimizer->betas[0];
    }
    // Gradient twice; master, second moment and, with beta1, the first are read and written.
    const double fp32 = 2 + 2 + 2 + (beta1 > 0 ? 2 : 0) + 2 * averaged;
    const double least = numbers * 4 * fp32;
    EXPECT_GE(phase.executed.bytes, least);
    EXPECT_LE(phase.executed.bytes, 1.01 * least + (rounds ? 2 * 2 * numbers : 0));
    EXPECT_EQ(phase.executed.flops(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         PlannedArithmetic,
                         testing::Values(Stage{"tiny/pretrain.yaml", "flow_matching"},
                                         Stage{"tiny/teacher_forcing.yaml", "diffusion_forcing"},
                                         Stage{"tiny/teacher_forcing.yaml", "teacher_forcing"},
                                         Stage{"tiny/teacher_forcing.yaml", "ode_regression"},
                                         Stage{"tiny/consistency.yaml", "consistency_distillation"},
                                         Stage{"tiny/dmd.yaml", "dmd"},
                                         Stage{"wan1.3b/teacher_forcing.yaml", "teacher_forcing"},
                                         Stage{"wan1.3b/dmd.yaml", "dmd"}));

}  // namespace
}  // namespace vmla::trainer
