#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "data/encode/clips_of_codec.h"
#include "data/encode/encode_ode_set.h"
#include "data/encode/encode_prompts.h"
#include "data/encode/generate_clips.h"
#include "data/store/latent_dataset.h"
#include "data/store/latent_file_writer.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/codec/text_encoder.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

/// Datasets that a network computes, with plain functions in the network's place.
namespace vmla::data {
namespace fs = std::filesystem;
namespace {

struct Stopped {};

GenerateOptions generate_options(const fs::path& out) {
  GenerateOptions options;
  options.prompts = {"one", "", "one two three"};
  options.prompts_name = "prompts.txt";
  options.out = out;
  options.count_per_prompt = 3;
  options.batch = 2;
  options.text = "hashing:32x8";
  options.clips =
      clips_of_codec("space_to_depth:2", {.frames = 2, .height = 4, .width = 4, .fps = 8});
  options.teacher = "a function";
  options.part_seconds = 0;  // a part a clip
  return options;
}

/// A clip's number, and what its text sums up to. The size of the batch shows, as it may.
at::Tensor sampled(const at::Tensor& text_BTE, int64_t first_clip) {
  const at::Tensor number = at::arange(text_BTE.size(0)) + first_clip;
  const at::Tensor value = number + text_BTE.sum({1, 2}) + 0.25 * text_BTE.size(0);
  return value.view({-1, 1, 1, 1, 1}).expand({-1, 2, 12, 2, 2});
}

TEST(GenerateClips, EachPromptHasItsClips) {
  const TemporaryFolder folder;
  const GenerateOptions options = generate_options(folder / "a.h5");
  EXPECT_EQ(generate_clips(options, sampled).clips, 9);
  const LatentDataset dataset(folder / "a.h5");
  ASSERT_EQ(dataset.size(), 9);
  EXPECT_EQ(dataset.info().clip_shape, (std::vector<int64_t>{2, 12, 2, 2}));
  EXPECT_EQ(dataset.info().pixel_frames, 2);
  const auto text = model::make_text_encoder("hashing:32x8");
  for (int64_t i = 0; i < 9; ++i) {
    const std::string& prompt = options.prompts[static_cast<size_t>(i / 3)];
    EXPECT_EQ(dataset.caption(i), prompt);
    EXPECT_EQ(dataset.record(i).source_file, formatted("prompts.txt:{}", i / 3 + 1));
    EXPECT_TRUE(at::equal(dataset.text(i), text->encode(prompt)));
    // The last batch has one clip.
    const double wanted =
        static_cast<double>(i) + text->encode(prompt).sum().item<double>() + (i == 8 ? 0.25 : 0.5);
    // bf16 keeps eight bits.
    EXPECT_NEAR(dataset.latents(i).mean().item<double>(), wanted, std::abs(wanted) / 256 + 1e-3);
  }
  EXPECT_THROW(generate_clips(options, sampled), UserError);  // exists
}

TEST(GenerateClips, KilledAndResumedIsUninterruptedByteForByte) {
  const TemporaryFolder folder;
  generate_clips(generate_options(folder / "whole.h5"), sampled);
  for (const int64_t kill_at : {2, 4, 8}) {
    const GenerateOptions options = generate_options(folder / formatted("killed{}.h5", kill_at));
    const auto killed = [&](const at::Tensor& text, int64_t first) {
      if (first >= kill_at) throw Stopped();
      return sampled(text, first);
    };
    EXPECT_THROW(generate_clips(options, killed), Stopped);
    EXPECT_FALSE(fs::exists(options.out));
    // Part of a batch is lost too: that batch is sampled again as it was.
    fs::remove(fs::path(options.out.string() + ".parts") /
               formatted("part-{}{}.h5", std::string(11, '0'), kill_at - 1));
    GenerateOptions other = options;
    other.teacher = "another function";
    EXPECT_THROW(generate_clips(other, sampled), UserError);
    EXPECT_EQ(generate_clips(options, sampled).resumed, kill_at - 1);
    EXPECT_TRUE(file_bytes(options.out) == file_bytes(folder / "whole.h5")) << kill_at;
  }
}

TEST(GenerateClips, WhatIsNotFiniteIsNotStored) {
  const TemporaryFolder folder;
  const GenerateOptions options = generate_options(folder / "a.h5");
  const std::string text = error_of<RunError>([&] {
    generate_clips(options, [](const at::Tensor& text_BTE, int64_t first) {
      at::Tensor clips = sampled(text_BTE, first).clone();
      if (first == 4) clips[1][0][0][0][0] = std::numeric_limits<float>::quiet_NaN();
      return clips;
    });
  });
  EXPECT_NE(text.find("\"\" has NaN"), std::string::npos) << text;  // clip 5 is of the empty prompt
  EXPECT_FALSE(fs::exists(folder / "a.h5"));
}

const std::vector<double> kTimes = {1000, 500, 0};

OdeSetOptions ode_options(const fs::path& data, const fs::path& out) {
  OdeSetOptions options;
  options.data = data;
  options.out = out;
  options.ode_times = kTimes;
  options.seed = 5;
  options.batch = 2;
  options.teacher = "a function";
  options.part_seconds = 0;
  return options;
}

/// The straight way from noise to the clip.
at::Tensor straight(const Batch& batch, const at::Tensor& noise) {
  return at::stack({noise, 0.5 * (noise + batch.latents), batch.latents}, 1);
}

TEST(OdeSetJob, StatesLieBesideTheClipsTheyBelongTo) {
  const TemporaryFolder folder;
  generate_clips(generate_options(folder / "clips.h5"), sampled);
  const LatentDataset clips(folder / "clips.h5");
  OdeSetOptions options = ode_options(folder / "clips.h5", folder / "ode.h5");
  options.fp32 = true;
  options.limit = 7;
  EXPECT_EQ(encode_ode_set(options, straight).clips, 7);
  const LatentDataset dataset(folder / "ode.h5");
  ASSERT_EQ(dataset.size(), 7);
  EXPECT_EQ(dataset.info().ode_times, kTimes);
  for (int64_t i = 0; i < 7; ++i) {
    EXPECT_EQ(dataset.caption(i), clips.caption(i));
    EXPECT_EQ(dataset.record(i).source_file, clips.record(i).source_file);
    EXPECT_TRUE(at::equal(dataset.latents(i), clips.latents(i)));
    EXPECT_TRUE(at::equal(dataset.text(i), clips.text(i)));
    const at::Tensor noise = kernels::normal(
        {.seed = 5, .purpose = kernels::Purpose::kOdeNoise, .sample = static_cast<uint64_t>(i)},
        {2, 12, 2, 2});
    EXPECT_TRUE(at::equal(dataset.ode_states(i)[0], noise)) << i;
    EXPECT_TRUE(at::equal(dataset.ode_states(i)[2], clips.latents(i)));
  }
}

TEST(OdeSetJob, KilledAndResumedIsUninterruptedByteForByte) {
  const TemporaryFolder folder;
  generate_clips(generate_options(folder / "clips.h5"), sampled);
  const auto options_for = [&](const std::string& name) {
    return ode_options(folder / "clips.h5", folder / name);
  };
  encode_ode_set(options_for("whole.h5"), straight);
  const auto killed = [&](const Batch& batch, const at::Tensor& noise) {
    if (batch.first_sample >= 4) throw Stopped();
    return straight(batch, noise);
  };
  EXPECT_THROW(encode_ode_set(options_for("killed.h5"), killed), Stopped);
  OdeSetOptions other = options_for("killed.h5");
  other.seed = 6;
  EXPECT_THROW(encode_ode_set(other, straight), UserError);
  EXPECT_EQ(encode_ode_set(options_for("killed.h5"), straight).resumed, 4);
  EXPECT_TRUE(file_bytes(folder / "killed.h5") == file_bytes(folder / "whole.h5"));
}

TEST(OdeSetJob, RefusesPromptsAndWhatIsNotFinite) {
  const TemporaryFolder folder;
  PromptsOptions prompts;
  prompts.prompts = {"a"};
  prompts.out = folder / "prompts.h5";
  encode_prompts(prompts);
  const std::string no_clips = error_of<UserError>(
      [&] { encode_ode_set(ode_options(folder / "prompts.h5", folder / "ode.h5"), straight); });
  EXPECT_NE(no_clips.find("prompt set"), std::string::npos) << no_clips;
  generate_clips(generate_options(folder / "clips.h5"), sampled);
  const std::string not_finite = error_of<RunError>([&] {
    encode_ode_set(ode_options(folder / "clips.h5", folder / "ode.h5"),
                   [](const Batch& batch, const at::Tensor& noise) {
                     return straight(batch, noise) / (batch.first_sample == 2 ? 0.0 : 1.0);
                   });
  });
  EXPECT_NE(not_finite.find("clip 2"), std::string::npos) << not_finite;
  EXPECT_FALSE(fs::exists(folder / "ode.h5"));
}

}  // namespace
}  // namespace vmla::data
