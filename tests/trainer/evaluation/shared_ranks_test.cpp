#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <bit>

#include "model/weights/local_weights.h"
#include "tests/support/temporary_folder.h"
#include "tests/trainer/distributed/on_mesh.h"
#include "tests/trainer/small_networks.h"
#include "tests/trainer/small_stage.h"
#include "trainer/evaluation/validation.h"
#include "trainer/evaluation/video_sampler.h"

/// Validation and samples that the ranks of a job divide among them: what one process finds, and no
/// rank does another's work. Here every rank has all weights and all tokens.
namespace vmla::trainer {
namespace {

const std::vector<distributed::MeshShape> kShapes = {
    {.world = 2}, {.world = 3}, {.world = 5}, {.world = 4, .sequence = 2}};

int64_t divided(int64_t work, int64_t ranks) {
  return (work + ranks - 1) / ranks;
}

std::vector<uint64_t> bits_of(const std::vector<double>& values) {
  std::vector<uint64_t> bits;
  for (const double value : values) bits.push_back(std::bit_cast<uint64_t>(value));
  return bits;
}

/// Seven clips, two at a time.
ValidationResult validated(const TrainConfig& config,
                           const distributed::Mesh& mesh,
                           int64_t& batches) {
  SmallStage stage(config);
  return validate(config,
                  2,
                  *stage.objective,
                  stage.roles.networks(stage.config),
                  "generator",
                  *stage.data.held_out(),
                  stage.data.shared_inputs(),
                  mesh,
                  [&] { ++batches; });
}

TEST(SharedRanks, ValidateEveryClipOnceToTheSameBits) {
  const TemporaryFolder folder;
  TrainConfig config = small_stage(folder.path(), "teacher_forcing");
  write_small_clips(folder / "held_out.h5", 7);
  config.data.validation_path = folder / "held_out.h5";
  config.validation.every = 1;
  config.validation.clips = 7;
  int64_t alone = 0;
  const ValidationResult expected = validated(config, distributed::Mesh(), alone);
  EXPECT_EQ(alone, 4);
  for (const distributed::MeshShape& shape : kShapes) {
    distributed::on_mesh(shape, [&](const distributed::Mesh& mesh) {
      int64_t batches = 0;
      const ValidationResult result = validated(config, mesh, batches);
      EXPECT_EQ(result.loss, expected.loss) << shape.world;
      EXPECT_EQ(bits_of(result.loss_by_time), bits_of(expected.loss_by_time)) << shape.world;
      EXPECT_EQ(batches, divided(alone, shape.data_ranks())) << shape.world;
    });
  }
}

struct SampledHere {
  std::vector<at::Tensor> videos;
  std::vector<SampledChunk> chunks;
  int64_t passes = 0;
};

/// Seven videos of three chunks, two at a time.
SampledHere sampled(const distributed::Mesh* ranks) {
  const model::ModelConfig config = small_model("mla");
  model::FrozenWeights weights{config, model::random_weights(config, 3), "random"};
  const VideoSampler sampler{{.codec = "space_to_depth:1",
                              .text_encoder = "hashing:5x3",
                              .fps = 8,
                              .pixel_height = 4,
                              .pixel_width = 4,
                              .clip = {6, 3, 4, 4}},
                             {},
                             /*bidirectional=*/false,
                             model::make_video_codec("space_to_depth:1")};
  SampledHere here;
  VideoSampler::Request request;
  for (uint32_t i = 0; i < 7; ++i)
    request.prompts.push_back({.text = std::string(i, 'a'), .seed = 5, .place = i});
  request.latent_frames = 6;
  request.sampler.kind = model::SamplerKind::kFewStep;
  request.sampler.denoising_step_list = {1000, 500};
  request.sampler.guidance_scale = 1;
  request.batch = 2;
  request.ranks = ranks;
  request.before_pass = [&] { ++here.passes; };
  here.videos = sampler.sample_pixels(
      {config, weights}, request, [&](const SampledChunk& chunk) { here.chunks.push_back(chunk); });
  return here;
}

TEST(SharedRanks, SampleEveryVideoOnceForTheLead) {
  const SampledHere alone = sampled(nullptr);
  ASSERT_EQ(alone.videos.size(), 7u);
  ASSERT_EQ(alone.chunks.size(), 21u);
  for (const distributed::MeshShape& shape : kShapes) {
    distributed::on_mesh(shape, [&](const distributed::Mesh& mesh) {
      const SampledHere here = sampled(&mesh);
      EXPECT_EQ(here.passes, alone.passes / 4 * divided(4, shape.data_ranks())) << shape.world;
      ASSERT_EQ(here.videos.size(), mesh.is_lead() ? 7u : 0u) << shape.world;
      ASSERT_EQ(here.chunks.size(), mesh.is_lead() ? 21u : 0u) << shape.world;
      for (size_t i = 0; i < here.videos.size(); ++i)
        EXPECT_TRUE(at::equal(here.videos[i], alone.videos[i])) << shape.world << " " << i;
      std::map<std::pair<size_t, int64_t>, const SampledChunk*> found;
      for (const SampledChunk& chunk : here.chunks)
        found[{chunk.prompt, chunk.first_frame}] = &chunk;
      for (const SampledChunk& chunk :
           mesh.is_lead() ? alone.chunks : std::vector<SampledChunk>()) {
        const SampledChunk* const same = found[{chunk.prompt, chunk.first_frame}];
        ASSERT_NE(same, nullptr);
        EXPECT_TRUE(at::equal(same->latents_FCHW, chunk.latents_FCHW));
        EXPECT_EQ(same->cache_bytes, chunk.cache_bytes);
        EXPECT_GT(same->seconds, 0);
        EXPECT_GE(same->since_start, same->seconds);
      }
    });
  }
}

}  // namespace
}  // namespace vmla::trainer
