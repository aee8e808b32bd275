#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <bit>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/counter_rng/counter_rng.h"
#include "model/formats/safetensors.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"
#include "tests/trainer/distributed/on_mesh.h"
#include "tests/trainer/small_sampler.h"
#include "tests/trainer/small_stage.h"
#include "trainer/evaluation/sample_list.h"
#include "trainer/evaluation/sample_together.h"
#include "trainer/evaluation/validation.h"

/// Validation and samples that the ranks of a job divide among them: what one process finds, and no
/// rank does another's work. Here every rank has all weights and all tokens.
namespace vmla::trainer {
namespace {

const std::vector<distributed::MeshShape> kShapes = {
    {.world = 2}, {.world = 3}, {.world = 5}, {.world = 8}, {.world = 4, .sequence = 2}};

int64_t divided(int64_t work, int64_t ranks) {
  return (work + ranks - 1) / ranks;
}

std::vector<uint64_t> bits_of(const std::vector<double>& values) {
  std::vector<uint64_t> bits;
  for (const double value : values) bits.push_back(std::bit_cast<uint64_t>(value));
  return bits;
}

/// Of seven clips or videos: two, or one where some rank would have none else.
int64_t batch_on(const distributed::MeshShape& shape) {
  return std::min<int64_t>(2, divided(7, shape.data_ranks()));
}

ValidationResult validated(const TrainConfig& config,
                           int64_t micro_batch,
                           const distributed::Mesh& mesh,
                           int64_t& batches) {
  SmallStage stage(config);
  return validate(config,
                  micro_batch,
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
  for (const distributed::MeshShape& shape : kShapes) {
    int64_t alone = 0;
    const ValidationResult expected =
        validated(config, batch_on(shape), distributed::Mesh(), alone);
    EXPECT_EQ(alone, divided(7, batch_on(shape)));
    distributed::on_mesh(shape, [&](const distributed::Mesh& mesh) {
      int64_t batches = 0;
      const ValidationResult result = validated(config, 2, mesh, batches);
      EXPECT_EQ(result.loss, expected.loss) << shape.world;
      EXPECT_EQ(bits_of(result.loss_by_time), bits_of(expected.loss_by_time)) << shape.world;
      EXPECT_EQ(batches, divided(alone, shape.data_ranks())) << shape.world;
    });
  }
}

/// Seven prompts, whose passes are counted.
struct SmallVideos : SmallSampler {
  int64_t passes = 0;

  explicit SmallVideos(int64_t batch) {
    for (uint32_t i = 0; i < 7; ++i)
      request.prompts.push_back({.text = std::string(i, 'a'), .seed = 5, .place = i});
    request.batch = batch;
    request.before_pass = [this] { ++passes; };
  }
};

constexpr int64_t kPassesOfABatch = 3 * 2;

TEST(SharedRanks, SampleEveryVideoOnceForTheLead) {
  for (const distributed::MeshShape& shape : kShapes) {
    SmallVideos alone(batch_on(shape));
    std::vector<std::vector<at::Tensor>> latents(7);
    const auto pixels =
        alone.sampler.sample_pixels(alone.source(), alone.request, [&](const SampledChunk& chunk) {
          latents[chunk.prompt].push_back(chunk.latents_FCHW);
        });
    distributed::on_mesh(shape, [&](const distributed::Mesh& mesh) {
      SmallVideos here(2);
      int64_t frames = 0;
      const auto videos = sample_videos_together(
          mesh, here.sampler, here.network(), here.request, [&](int64_t more) { frames += more; });
      const int64_t rounds = divided(divided(7, batch_on(shape)), shape.data_ranks());
      EXPECT_EQ(here.passes, kPassesOfABatch * rounds) << shape.world;
      EXPECT_EQ(frames, 7 * 6) << shape.world;
      ASSERT_EQ(videos.size(), mesh.is_lead() ? 7u : 0u) << shape.world;
      for (size_t i = 0; i < videos.size(); ++i) {
        EXPECT_TRUE(at::equal(videos[i].pixels_F3HW, pixels[i])) << shape.world << " " << i;
        EXPECT_TRUE(at::equal(videos[i].latents_FCHW, at::cat(latents[i])))
            << shape.world << " " << i;
        EXPECT_EQ(videos[i].pixels_F3HW.storage().nbytes(), videos[i].pixels_F3HW.nbytes())
            << "it holds no other rank's video";
      }
    });
  }
}

TEST(SharedRanks, WriteEveryVideoOnceAndOneList) {
  const TemporaryFolder folder;
  SmallVideos alone(1);
  const auto expected = sample_to_folder(distributed::Mesh(),
                                         alone.sampler,
                                         alone.network(),
                                         alone.request,
                                         {.path = folder / "alone", .pixel_frames = 5});
  for (const distributed::MeshShape& shape : kShapes) {
    const auto out = folder / formatted("{}_{}", shape.world, shape.sequence);
    distributed::on_mesh(shape, [&](const distributed::Mesh& mesh) {
      SmallVideos here(1);
      const auto entries = sample_to_folder(
          mesh, here.sampler, here.network(), here.request, {.path = out, .pixel_frames = 5});
      EXPECT_EQ(here.passes, kPassesOfABatch * divided(7, shape.data_ranks())) << shape.world;
      ASSERT_EQ(entries.size(), 7u);
      for (size_t i = 0; i < entries.size(); ++i)
        EXPECT_EQ(std::filesystem::path(file_of_entry(entries[i])).stem(), formatted("{:03}", i))
            << shape.world;
    });
    const auto list = nlohmann::json::parse(io::read_text_file(out / "samples.json"));
    ASSERT_EQ(list.size(), 7u) << shape.world;
    for (size_t i = 0; i < list.size(); ++i) {
      EXPECT_EQ(list[i]["prompt"], std::string(i, 'a')) << shape.world;
      EXPECT_EQ(list[i]["frames"], 5) << shape.world;
      const std::string file = file_of_entry(expected[i]);
      EXPECT_EQ(list[i]["file"], file) << shape.world;
      EXPECT_EQ(io::read_text_file(out / file), io::read_text_file(folder / "alone" / file))
          << shape.world << " " << i;
    }
    const std::filesystem::directory_iterator files(out);
    EXPECT_EQ(std::distance(begin(files), end(files)), 8) << "and nothing else";
  }
}

/// A video's latents as its file has them.
at::Tensor latents_in(const std::filesystem::path& folder, const std::string& file) {
  const auto path = folder / std::filesystem::path(file).replace_extension(".safetensors");
  return model::read_safetensors(path).tensors.at("latents");
}

TEST(SharedRanks, GoOnWithAFolderInBatchesOfGivenNoise) {
  const TemporaryFolder folder;
  const auto request_of = [](SmallVideos& videos) {
    VideoSampler::Request request = videos.request;
    request.keeps_finished = true;
    request.noise_PFCHW = kernels::normal({.seed = 3}, {7, 6, 3, 4, 4});
    return request;
  };
  SmallVideos alone(1);
  const VideoSampler::Request whole = request_of(alone);
  const SampleFolder expected{folder / "alone", 5, /*save_latents=*/true};
  const auto entries =
      sample_to_folder(distributed::Mesh(), alone.sampler, alone.network(), whole, expected);
  for (const distributed::MeshShape& shape : kShapes) {
    const SampleFolder out{
        folder / formatted("{}_{}", shape.world, shape.sequence), 5, /*save_latents=*/true};
    distributed::on_mesh(shape, [&](const distributed::Mesh& mesh) {
      SmallVideos here(1);
      VideoSampler::Request request = request_of(here);
      request.prompts.resize(2);
      sample_to_folder(mesh, here.sampler, here.network(), request, out);
      request = request_of(here);
      request.batch = 2;
      here.passes = 0;
      request.before_pass = [&] { ++here.passes; };
      const auto made = sample_to_folder(mesh, here.sampler, here.network(), request, out);
      EXPECT_EQ(made.size(), 5u) << shape.world;
      const int64_t batch = std::min<int64_t>(2, divided(5, shape.data_ranks()));
      const int64_t rounds = divided(divided(5, batch), shape.data_ranks());
      EXPECT_EQ(here.passes, kPassesOfABatch * rounds) << shape.world;
      EXPECT_EQ(nlohmann::json::parse(made.front())["batch_size"], batch) << shape.world;
    });
    const auto list = nlohmann::json::parse(io::read_text_file(out.path / "samples.json"));
    ASSERT_EQ(list.size(), 7u) << shape.world;
    for (const std::string& entry : entries) {
      const std::string file = file_of_entry(entry);
      // Batches are computed in another order of operations: equal up to the rounding of fp32.
      EXPECT_TRUE(at::allclose(
          latents_in(out.path, file), latents_in(expected.path, file), /*rtol=*/0, /*atol=*/1e-4))
          << shape.world << " " << file;
    }
  }
}

/// Decodes until a number of pieces is decoded, and fails then.
class FailingCodec final : public model::VideoCodec {
 public:
  explicit FailingCodec(int64_t pieces) : left_(pieces) {}
  std::string name() const override { return inner_->name(); }
  std::string hash() const override { return inner_->hash(); }
  model::CodecGeometry geometry() const override { return inner_->geometry(); }
  at::Tensor encode(const at::Tensor& pixels) const override { return inner_->encode(pixels); }
  at::Tensor decode(const at::Tensor& latents) const override { return inner_->decode(latents); }
  std::unique_ptr<model::VideoDecoder> start_decoding() const override {
    return std::make_unique<Decoder>(inner_->start_decoding(), left_);
  }

 private:
  struct Decoder final : model::VideoDecoder {
    Decoder(std::unique_ptr<model::VideoDecoder> decoder, int64_t& pieces)
        : inner(std::move(decoder)), left(pieces) {}
    at::Tensor next(const at::Tensor& latents) override {
      if (left-- == 0) throw RunError("the disk is full");
      return inner->next(latents);
    }
    std::unique_ptr<model::VideoDecoder> inner;
    int64_t& left;
  };
  std::shared_ptr<const model::VideoCodec> inner_ = model::make_video_codec("space_to_depth:1");
  mutable int64_t left_;
};

TEST(SharedRanks, ListWhatIsFinishedWhereABatchFails) {
  const TemporaryFolder folder;
  constexpr int64_t kChunks = 3;
  // Of three videos at once the last chunk of the second fails.
  SmallSampler videos("space_to_depth:1", std::make_shared<FailingCodec>(3 * kChunks - 2));
  videos.request.latent_frames = 6;
  videos.request.batch = 3;
  for (uint32_t i = 0; i < 3; ++i) videos.request.prompts.push_back({.text = "a", .place = i});
  EXPECT_THROW(sample_to_folder(distributed::Mesh(),
                                videos.sampler,
                                videos.network(),
                                videos.request,
                                {.path = folder / "out", .pixel_frames = 5}),
               RunError);
  const auto list = nlohmann::json::parse(io::read_text_file(folder / "out" / "samples.json"));
  ASSERT_EQ(list.size(), 1u);
  EXPECT_TRUE(std::filesystem::is_regular_file(folder / "out" / list[0]["file"]));
  const std::filesystem::directory_iterator files(folder / "out");
  EXPECT_EQ(std::distance(begin(files), end(files)), 2) << "and nothing unfinished";
}

}  // namespace
}  // namespace vmla::trainer
