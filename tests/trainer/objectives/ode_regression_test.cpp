#include "trainer/objectives/objective.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "tests/trainer/small_networks.h"

namespace vmla::trainer {
namespace {

constexpr ClipShape kClip{6, 3, 4, 4};

/// A network whose flow is zero: its x0 is the state it was given.
SmallNetworks silent_network() {
  const auto config = small_model("mla");
  auto weights = small_weights(config, 1);
  weights.at("head.head.weight").zero_();
  weights.at("head.head.bias").zero_();
  SmallNetworks networks;
  networks.add("generator", config, weights);
  return networks;
}

/// State s of frame f of sample b holds 1 + 100 b + 10 s + f everywhere; the endpoint is zero.
at::Tensor numbered_states(int64_t batch, int64_t states) {
  at::Tensor all = at::zeros({batch, states + 1, kClip.frames, 3, 4, 4}, at::kDouble);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t s = 0; s < states; ++s) {
      for (int64_t f = 0; f < kClip.frames; ++f)
        all[b][s][f].fill_(1.0 + static_cast<double>(100 * b + 10 * s + f));
    }
  }
  return all;
}

/// With a silent network and a zero endpoint a frame's loss is the square of the state it saw.
TEST(OdeRegression, EachSampleAndChunkSeesItsOwnState) {
  const SmallNetworks networks = silent_network();
  for (const char* context : {"teacher_forcing", "chunk_causal"}) {
    OdeRegressionConfig config;
    config.context = context;
    const auto objective = make_objective(config, small_model("mla"));
    auto inputs = small_inputs(*objective, "generator", kClip, {.seed = 1, .step = 0, .batch = 3});
    inputs["ode_states"] = numbered_states(3, 4);
    const at::Tensor index =
        at::tensor({0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 3, 2, 2, 1, 1, 0, 0}, at::kLong).view({3, 6});
    inputs["ode_index"] = index;
    const auto details =
        evaluate_small(*objective, "generator", inputs, networks, model::GradMode::kNone).details;
    const auto table = model::warped_step_list(config.denoising_step_list, 5.0);
    for (int64_t b = 0; b < 3; ++b) {
      for (int64_t f = 0; f < kClip.frames; ++f) {
        const int64_t s = index[b][f].item<int64_t>();
        const double seen = 1.0 + static_cast<double>(100 * b + 10 * s + f);
        EXPECT_DOUBLE_EQ(details.at("frame_loss")[b][f].item<double>(), seen * seen) << context;
        EXPECT_DOUBLE_EQ(details.at("timesteps")[b][f].item<double>(),
                         table[static_cast<size_t>(s)]);
      }
    }
  }
}

TEST(OdeRegression, DrawsOneStateAVideoOrOneAChunk) {
  const DrawContext many{.seed = 1, .step = 0, .first_sample = 0, .batch = 200};
  OdeRegressionConfig config;
  const auto index = [&] {
    return make_objective(config, small_model("mla"))
        ->draws("generator", kClip, many)
        .at("ode_index");
  };
  const at::Tensor video = index();
  EXPECT_EQ(video.sizes(), at::IntArrayRef({200, 6}));
  EXPECT_TRUE(at::equal(video, video.narrow(1, 0, 1).expand_as(video)));
  EXPECT_EQ(video.min().item<int64_t>(), 0);
  EXPECT_EQ(video.max().item<int64_t>(), 3);
  config.context = "chunk_causal";
  const at::Tensor chunks = index().view({200, 3, 2});
  EXPECT_TRUE(at::equal(chunks.select(2, 0), chunks.select(2, 1)));
  EXPECT_FALSE(at::equal(chunks.select(1, 0), chunks.select(1, 1)));
}

TEST(OdeRegression, SaysHowManyStatesItNeeds) {
  const SmallNetworks networks = silent_network();
  const auto objective = make_objective(OdeRegressionConfig{}, small_model("mla"));
  auto inputs = small_inputs(*objective, "generator", kClip, {.seed = 1, .step = 0, .batch = 2});
  inputs["ode_states"] = numbered_states(2, 3);
  try {
    evaluate_small(*objective, "generator", inputs, networks, model::GradMode::kNone);
    FAIL() << "three states were taken for four";
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("holds 3 states"), std::string::npos) << text;
    EXPECT_NE(text.find("denoising_step_list has 4"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace vmla::trainer
