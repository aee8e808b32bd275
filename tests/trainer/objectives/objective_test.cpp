#include "trainer/objectives/objective.h"
#include "model/weights/local_weights.h"
#include "tests/trainer/small_networks.h"
#include "trainer/objectives/noising.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace vmla::trainer {
namespace {

constexpr ClipShape kClip{6, 3, 4, 4};

ObjectiveConfig objective_config(const std::string& name) {
  ObjectiveConfig config;
  config.name = name;
  return config;
}

class Draws : public testing::TestWithParam<const char*> {};

TEST_P(Draws, DependOnTheSampleAndNotOnTheMicroBatch) {
  const auto objective = make_objective(objective_config(GetParam()), small_model("mla"));
  const auto whole =
      objective->draws("generator", kClip, {.seed = 3, .step = 5, .first_sample = 0, .batch = 4});
  const auto tail =
      objective->draws("generator", kClip, {.seed = 3, .step = 5, .first_sample = 2, .batch = 2});
  for (const auto& [name, tensor] : whole)
    EXPECT_TRUE(at::equal(tensor.narrow(0, 2, 2), tail.at(name))) << name;
  const auto other_step =
      objective->draws("generator", kClip, {.seed = 3, .step = 6, .first_sample = 0, .batch = 4});
  const auto other_seed =
      objective->draws("generator", kClip, {.seed = 4, .step = 5, .first_sample = 0, .batch = 4});
  for (const auto& [name, tensor] : whole) {
    EXPECT_FALSE(at::equal(tensor, other_step.at(name))) << name;
    EXPECT_FALSE(at::equal(tensor, other_seed.at(name))) << name;
  }
}

TEST_P(Draws, OfValidationAreTheSameAtEveryStep) {
  const auto objective = make_objective(objective_config(GetParam()), small_model("dense"));
  const auto early =
      objective->draws("generator",
                       kClip,
                       {.seed = 3, .step = 5, .first_sample = 0, .batch = 4, .validation = true});
  const auto late =
      objective->draws("generator",
                       kClip,
                       {.seed = 3, .step = 50, .first_sample = 0, .batch = 4, .validation = true});
  for (const auto& [name, tensor] : early) EXPECT_TRUE(at::equal(tensor, late.at(name))) << name;
}

INSTANTIATE_TEST_SUITE_P(All,
                         Draws,
                         testing::Values("flow_matching",
                                         "diffusion_forcing",
                                         "teacher_forcing",
                                         "ode_regression",
                                         "consistency_distillation"));

/// Shapes and types of draws are declared beforehand, for plans and for what ranks must agree on.
TEST(DrawSpecs, SayWhatIsDrawn) {
  for (const char* name : {"flow_matching",
                           "diffusion_forcing",
                           "teacher_forcing",
                           "ode_regression",
                           "consistency_distillation",
                           "dmd"}) {
    ObjectiveConfig config = objective_config(name);
    config.teacher_forcing.noise_augmentation_max_timestep = 100;
    config.dmd.first_chunk_denoising_step_list = {1000, 500};
    config.dmd.context_noise = 10;
    config.dmd.min_rollout_frames = config.dmd.max_rollout_frames = 10;
    config.dmd.scored_windows = "all";
    const auto objective = make_objective(config, small_model("mla"));
    for (const Role& role : objective_traits(config).roles) {
      if (role.training != Training::kTrained) continue;
      auto drawn =
          objective->draws(role.name, kClip, {.seed = 3, .step = 5, .first_sample = 0, .batch = 7});
      for (const DrawSpec& spec : objective->draw_specs(role.name, kClip)) {
        ASSERT_TRUE(drawn.contains(spec.name)) << name << ": " << spec.name;
        const at::Tensor tensor = drawn.at(spec.name);
        std::vector<int64_t> shape = spec.shape;
        for (int64_t& size : shape) size = size == DrawSpec::kBatch ? 7 : size;
        EXPECT_EQ(tensor.sizes(), at::IntArrayRef(shape)) << name << ": " << spec.name;
        EXPECT_EQ(tensor.scalar_type(), spec.dtype) << name << ": " << spec.name;
        if (spec.shared_below > 0) {
          EXPECT_LT(tensor.item<int64_t>(), spec.shared_below) << spec.name;
        }
        drawn.erase(spec.name);
      }
      EXPECT_TRUE(drawn.empty()) << name << " also draws " << drawn.begin()->first;
    }
  }
}

TEST(Draws, TimestepsAreOnePerClipOrOnePerChunk) {
  const DrawContext context{.seed = 1, .step = 2, .first_sample = 0, .batch = 64};
  const auto bidirectional =
      make_objective(objective_config("flow_matching"), small_model("dense"));
  const at::Tensor t = bidirectional->draws("generator", kClip, context).at("timesteps");
  EXPECT_TRUE(at::equal(t, t.narrow(1, 0, 1).expand_as(t)));
  const auto causal = make_objective(objective_config("teacher_forcing"), small_model("mla"));
  const at::Tensor chunks =
      causal->draws("generator", kClip, context).at("timesteps").view({64, 3, 2});
  EXPECT_TRUE(at::equal(chunks.select(2, 0), chunks.select(2, 1)));
  EXPECT_FALSE(at::equal(chunks.select(1, 0), chunks.select(1, 1)));
  // Entries of the training table of shift 5 lie in [4.98, 1000].
  EXPECT_GE(chunks.min().item<double>(), 4.98);
  EXPECT_LE(chunks.max().item<double>(), 1000.0);
}

TEST(Noising, ExactAndQuantisedSigmaAgreeOnTableEntries) {
  const Noising exact(5.0, false), quantised(5.0, true);
  const at::Tensor clean = at::ones({1, 2, 1, 1, 1}, at::kDouble),
                   noise = at::full({1, 2, 1, 1, 1}, 3.0, at::kDouble);
  const at::Tensor t =
      at::tensor({exact.table_timestep(0), exact.table_timestep(700)}, at::kDouble).view({1, 2});
  const auto a = exact(clean, noise, t), b = quantised(clean, noise, t);
  EXPECT_TRUE(at::allclose(a.noisy_BFCHW, b.noisy_BFCHW, 0, 1e-12));
  EXPECT_NEAR(a.noisy_BFCHW[0][0].item<double>(), 3.0, 1e-12);  // sigma = 1: all noise
  EXPECT_DOUBLE_EQ(a.target_BFCHW[0][0].item<double>(), 2.0);
  // Between entries the exact value moves, the table's does not.
  const auto c = quantised(clean, noise, t - 0.01);
  EXPECT_TRUE(at::equal(b.noisy_BFCHW, c.noisy_BFCHW));
}

TEST(Registry, NamesTheKnownObjectives) {
  try {
    make_objective(objective_config("dmdd"), small_model("mla"));
    FAIL() << "an unknown objective was accepted";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("flow_matching, diffusion_forcing, teacher_forcing"),
              std::string::npos)
        << error.what();
  }
}

TEST(Evaluate, NamesAMissingInput) {
  const auto config = small_model("mla");
  model::FrozenWeights weights(config, model::random_weights(config, 0), "test");
  const auto objective = make_objective(objective_config("teacher_forcing"), config);
  const NetworkTable networks = {{"generator", {{config, weights}}}};
  try {
    objective->evaluate("generator",
                        {{"clean_latents", at::zeros({1, 6, 3, 4, 4})}},
                        networks,
                        model::GradMode::kNone,
                        [](const LossTerms&, bool) {});
    FAIL() << "evaluated without its inputs";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find("'timesteps'"), std::string::npos) << error.what();
  }
}

/// A micro-batch's gradients add up to the batch's: two halves, each weighted by a half.
TEST(Accumulation, EqualsTheWholeBatch) {
  const auto config = small_model("mla");
  auto initial = model::random_weights(config, 7);
  initial["head.head.weight"] =
      at::ones_like(initial["head.head.weight"]) * 0.1;  // zero by default: no gradient would pass
  const auto objective = make_objective(objective_config("teacher_forcing"), config);
  auto inputs =
      objective->draws("generator", kClip, {.seed = 3, .step = 5, .first_sample = 0, .batch = 4});
  inputs["clean_latents"] =
      at::linspace(-1, 1, inputs["noise"].numel()).view(inputs["noise"].sizes());
  inputs["text"] = at::linspace(-1, 1, 4 * 2 * 5).view({4, 2, 5});
  const auto gradients = [&](int64_t micro) {
    model::TrainedWeights weights(config, initial, "test");
    const NetworkTable networks = {{"generator", {{config, weights}}}};
    for (int64_t first = 0; first < 4; first += micro) {
      model::TensorMap part;
      for (const auto& [name, tensor] : inputs) part[name] = tensor.narrow(0, first, micro);
      objective->evaluate(
          "generator", part, networks, model::GradMode::kFull, [&](const LossTerms& terms, bool) {
            (terms.total * (static_cast<double>(micro) / 4.0)).backward();
          });
    }
    std::map<std::string, at::Tensor> copy;
    for (const auto& [name, gradient] : weights.gradients()) copy[name] = gradient.clone();
    return copy;
  };
  const auto whole = gradients(4), halves = gradients(2);
  for (const auto& [name, gradient] : whole) {
    // Sums in another order: fp32 rounding relative to the tensor's size.
    const double scale = gradient.abs().max().item<double>() + 1e-12;
    EXPECT_LT((gradient - halves.at(name)).abs().max().item<double>(), 2e-5 * scale + 1e-9) << name;
  }
}

}  // namespace
}  // namespace vmla::trainer
