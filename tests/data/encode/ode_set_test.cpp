#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "data/encode/encode_parts.h"
#include "data/loading/prefetch_loader.h"
#include "data/loading/shard_sampler.h"
#include "data/store/latent_dataset.h"
#include "data/store/latent_file_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

const std::vector<double> kTimes = {1000, 937.5, 0};

LatentInfo info_of(bool fp32) {
  LatentInfo info;
  info.codec = info.codec_hash = info.text_encoder = info.text_encoder_hash = "test";
  info.fps = 8;
  info.pixel_height = info.pixel_width = 4;
  info.pixel_frames = 2;
  info.clip_shape = {2, 3, 4, 4};
  info.ode_times = kTimes;
  info.ode_fp32 = fp32;
  info.text_dim = 4;
  return info;
}

/// Values that bf16 rounds, different in each clip, state and place.
at::Tensor states_of(int64_t clip) {
  return (at::arange(3 * 2 * 3 * 4 * 4).to(at::kFloat) * 0.37 + static_cast<double>(clip) * 100.01)
      .view({3, 2, 3, 4, 4});
}

EncodedClip clip_of(int64_t clip, bool fp32) {
  const at::Tensor latents = at::full({2, 3, 4, 4}, clip, at::kBFloat16);
  const at::Tensor states = states_of(clip).to(fp32 ? at::kFloat : at::kBFloat16).contiguous();
  EncodedClip out;
  out.record = {formatted("caption {}", clip), "v.mp4", clip, 1};
  out.shape = latents.sizes().vec();
  const auto* bits = static_cast<const uint16_t*>(latents.const_data_ptr());
  out.latents.assign(bits, bits + latents.numel());
  const auto* bytes = static_cast<const std::byte*>(states.const_data_ptr());
  out.ode.assign(bytes, bytes + states.nbytes());
  out.text.assign(4, static_cast<float>(clip));
  return out;
}

/// `cut`: how many clips are committed before the job is killed; the rest by a second job.
void write_set(const fs::path& path, int64_t n, bool fp32, int64_t cut) {
  for (const int64_t end : {cut, n}) {
    EncodeParts parts({.out = path,
                       .info = info_of(fp32),
                       .empty_text = {9, 9, 9, 9},
                       .fingerprint = "job",
                       .part_seconds = 0});
    for (int64_t i = parts.end_video(); i < end; ++i) {
      parts.add(clip_of(i, fp32));
      parts.end_of_video(std::nullopt);
    }
    if (end == n) parts.merge();
  }
}

TEST(OdeSet, StatesAreReadBesideTheirClips) {
  const TemporaryFolder folder;
  for (const bool fp32 : {false, true}) {
    const fs::path path = folder / formatted("ode{}.h5", fp32);
    write_set(path, 5, fp32, 3);
    const LatentDataset dataset(path);
    ASSERT_EQ(dataset.size(), 5);
    EXPECT_TRUE(dataset.has_ode());
    EXPECT_EQ(dataset.info(), info_of(fp32));
    for (int64_t i = 0; i < 5; ++i) {
      const at::Tensor stored = states_of(i).to(fp32 ? at::kFloat : at::kBFloat16);
      EXPECT_TRUE(at::equal(dataset.ode_states(i), stored.to(at::kFloat)));
      EXPECT_EQ(dataset.latents(i).mean().item<double>(), static_cast<double>(i));
    }
    const ShardSampler sampler(2, 5);
    PrefetchLoader loader(dataset, sampler, {.global_batch = 2, .micro_batch = 2});
    for (int step = 0; step < 4; ++step) {
      const Batch batch = loader.next();
      ASSERT_EQ(batch.ode_states.sizes(), (at::IntArrayRef{2, 3, 2, 3, 4, 4}));
      for (int64_t b = 0; b < 2; ++b) {
        const int64_t clip = batch.indices[static_cast<size_t>(b)];
        EXPECT_TRUE(at::equal(batch.ode_states[b], dataset.ode_states(clip)));
        EXPECT_EQ(batch.latents[b].mean().item<double>(), static_cast<double>(clip));
      }
    }
  }
}

TEST(OdeSet, WhereAJobWasCutDoesNotShow) {
  const TemporaryFolder folder;
  write_set(folder / "whole.h5", 5, false, 0);
  write_set(folder / "cut.h5", 5, false, 3);
  EXPECT_TRUE(file_bytes(folder / "whole.h5") == file_bytes(folder / "cut.h5"));
}

TEST(OdeSet, FilesOfAFolderMustAgree) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "set");
  write_set(folder / "set/a.h5", 2, false, 0);
  write_set(folder / "set/b.h5", 2, true, 0);
  EXPECT_NE(error_of<UserError>([&] { LatentDataset(folder / "set"); }).find("ODE states"),
            std::string::npos);
}

TEST(OdeSet, EveryTruncationIsNoticed) {
  const TemporaryFolder folder;
  write_set(folder / "a.h5", 3, true, 0);
  const std::string whole = file_bytes(folder / "a.h5");
  for (size_t keep = 0; keep < whole.size(); keep += 131) {
    write_bytes(folder / "cut.h5", whole.substr(0, keep));
    const std::string text = error_of<UserError>([&] { LatentDataset(folder / "cut.h5"); });
    EXPECT_NE(text.find("cut.h5"), std::string::npos) << keep << ": " << text;
  }
}

}  // namespace
}  // namespace vmla::data
