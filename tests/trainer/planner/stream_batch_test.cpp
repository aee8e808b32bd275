// How many videos can be sampled at once: planned without data, and measured on the CPU.
#include "trainer/planner/stream_batch.h"

#include <gtest/gtest.h>

#include "model/sampling/rollout.h"
#include "tests/trainer/drawn_stage.h"
#include "trainer/planner/memory_plan.h"
#include "trainer/telemetry/tensor_memory.h"

namespace vmla::trainer {
namespace {

TrainConfig tiny_student(const std::string& attention) {
  return tiny_stage("dmd.yaml", {"model.attention=" + attention});
}

/// The most that tensors hold while so many videos of blank noise are sampled, weights included.
int64_t measured_peak(const TrainConfig& config, int64_t videos) {
  const int64_t before = tensor_bytes(at::kCPU).live;
  const RoleSet set = drawn_roles(
      config,
      {{.role = {"generator", Training::kFrozen}, .config = config.model, .sizes_from = "model"}});
  const model::Network network = set.network(set.states.front());
  const ClipShape clip = tiny_clip();
  const auto blank = [&](auto&&...) {
    return at::zeros({videos, clip.channels, clip.height, clip.width});
  };
  const at::Tensor text = at::zeros({videos, config.model.text_len, config.model.text_dim});
  const auto sample = [&] {
    model::sample_causal(network,
                         {.text_BTE = text,
                          .negative_text_1TE = {},
                          .num_frames = 18,
                          .latent_height = clip.height,
                          .latent_width = clip.width,
                          .frame_noise = blank,
                          .frame_renoise = blank,
                          .prompt_changes = {}},
                         {.kind = model::SamplerKind::kFewStep,
                          .guidance_scale = 1,
                          .denoising_step_list = {1000, 750, 500, 250},
                          .first_chunk_denoising_step_list = {}},
                         [](const model::RolloutChunk&) {});
  };
  sample();
  reset_tensor_peak(at::kCPU);
  sample();
  return tensor_bytes(at::kCPU).peak - before;
}

class Streams : public testing::TestWithParam<const char*> {};

// Half a video more or less than fits decides, and what a plan lacks (scalars, a library's own
// temporaries) is far less than that.
TEST_P(Streams, AsManyFitAsIsMeasured) {
  const TrainConfig config = tiny_student(GetParam());
  count_tensor_bytes();
  const int64_t rows = config.model.text_len;
  for (const int64_t videos : {1, 4, 12}) {
    const int64_t bytes = (measured_peak(config, videos) + measured_peak(config, videos + 1)) / 2;
    EXPECT_EQ(
        largest_stream_batch(config, config.model, tiny_clip(), rows, static_cast<double>(bytes)),
        videos);
  }
  EXPECT_EQ(largest_stream_batch(config, config.model, tiny_clip(), rows, 1000), 0);
}

// Few videos keep their windows, many do not, so that one more may need less than all before.
TEST(StreamsWithoutData, MoreMemoryHasRoomForAsManyAtLeast) {
  const TrainConfig config = tiny_student("mla");
  int64_t before = 0;
  for (const double bytes : {10e6, 20e6, 30e6, 40e6, 50e6, 100e6}) {
    const int64_t videos =
        largest_stream_batch(config, config.model, tiny_clip(), config.model.text_len, bytes);
    EXPECT_GT(videos, before) << bytes;
    before = videos;
  }
}

INSTANTIATE_TEST_SUITE_P(Attention, Streams, testing::Values("mla", "dense"));

TEST(MemoryPlan, SaysHowManyVideosAreSampledAtOnce) {
  const TrainConfig config = tiny_student("mla");
  EXPECT_FALSE(plan_memory(config, tiny_media(config), {}).streams);
  const MemoryPlan plan = plan_memory(config, tiny_media(config), {.gpu_memory = 1e9});
  ASSERT_TRUE(plan.streams);
  EXPECT_GT(plan.streams->own, plan.streams->dense);
  EXPECT_NE(memory_table(plan).find("videos sampled at once in 1 GB"), std::string::npos);
}

}  // namespace
}  // namespace vmla::trainer
