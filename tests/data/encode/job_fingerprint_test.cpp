#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "data/encode/clips_of_codec.h"
#include "data/encode/encode_ode_set.h"
#include "data/encode/encode_prompts.h"
#include "data/encode/encode_videos.h"
#include "data/encode/generate_clips.h"
#include "data/store/latent_dataset.h"
#include "data/synth/synth_videos.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "tests/support/temporary_folder.h"

/// The parts of an unfinished job carry its fingerprint, and a later version of the program goes on
/// from them: the hashes below stay as they are, unless a codec or a text encoder changes what it
/// computes.
namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// Runs a job on a disk that is full once all parts are written, and reads the fingerprint that it
/// left in them.
template <class Job>
std::string fingerprint_of(const fs::path& out, const Job& job) {
  io::set_fault_hook([&](std::string_view, const fs::path& path) {
    return path.parent_path() == out.parent_path() ? ENOSPC : 0;
  });
  EXPECT_THROW(job(), RunError);
  io::set_fault_hook(nullptr);
  const LatentFile part(fs::path(out.string() + ".parts") / "part-000000000000.h5");
  return part.part() ? part.part()->job : "";
}

LatentInfo small_clips() {
  return clips_of_codec("space_to_depth:2", {.frames = 2, .height = 4, .width = 6, .fps = 29.97});
}

GenerateOptions generate_options(const fs::path& out) {
  GenerateOptions options;
  options.prompts = {"one", "", "zwei Wörter"};
  options.prompts_name = "prompts.txt";
  options.out = out;
  options.count_per_prompt = 2;
  options.batch = 2;
  options.text = "hashing:32x8";
  options.clips = small_clips();
  options.teacher = "a function";
  return options;
}

at::Tensor sampled(const at::Tensor& text_BTE, int64_t first_clip) {
  return (at::arange(text_BTE.size(0)) + first_clip)
      .view({-1, 1, 1, 1, 1})
      .expand({-1, 2, 12, 2, 3});
}

TEST(JobFingerprint, OfEncodedVideosStays) {
  const TemporaryFolder folder;
  SynthOptions synth;
  synth.out = folder / "v";
  synth.count = 2;
  synth.format = "y4m";
  synth_videos(synth);
  EncodeOptions options;
  options.videos = folder / "v";
  options.out = folder / "a.h5";
  options.fps = 8.1;
  options.stride = 5;
  options.max_clips = 3;
  EXPECT_EQ(fingerprint_of(options.out, [&] { encode_videos(options); }),
            "b6bb796696345e2c0ba68d833bc844392f32d2b3c26adfdfc2ca61202eba9f68");
}

TEST(JobFingerprint, OfPromptsStays) {
  const TemporaryFolder folder;
  PromptsOptions options;
  options.prompts = {"one", "", "zwei Wörter"};
  options.out = folder / "plain.h5";
  EXPECT_EQ(fingerprint_of(options.out, [&] { encode_prompts(options); }),
            "00920b94c02b24febd30f2acdf5d4223a0299c350b8c6a18757e6d3041e2f5e7");
  options.out = folder / "for_clips.h5";
  options.clips = small_clips();
  EXPECT_EQ(fingerprint_of(options.out, [&] { encode_prompts(options); }),
            "7d471ed26b4ef7f6cc7cac7e0a3c853c4a7137f60ead22f9378aae67561f48d0");
}

TEST(JobFingerprint, OfGeneratedClipsStays) {
  const TemporaryFolder folder;
  const GenerateOptions options = generate_options(folder / "a.h5");
  EXPECT_EQ(fingerprint_of(options.out, [&] { generate_clips(options, sampled); }),
            "2d7b56f01d747b708127489e68e1593ce4c4a39c0f76d41f9b243f16a547c9e0");
}

TEST(JobFingerprint, OfOdePairsStays) {
  const TemporaryFolder folder;
  generate_clips(generate_options(folder / "clips.h5"), sampled);
  OdeSetOptions options;
  options.data = folder / "clips.h5";
  options.out = folder / "ode.h5";
  options.ode_times = {1000, 937.3, 0};
  options.fp32 = true;
  options.seed = 5;
  options.limit = 5;
  options.batch = 2;
  options.teacher = "a function";
  options.origin = "a straight line";
  const OdeSolver straight = [](const Batch& batch, const at::Tensor& noise) {
    return at::stack({noise, 0.5 * (noise + batch.latents), batch.latents}, 1);
  };
  EXPECT_EQ(fingerprint_of(options.out, [&] { encode_ode_set(options, straight); }),
            "1c4b4639eccc66fa09efab922fbc6d456a075bef23cb8922f93b02ff664ae0d8");
}

}  // namespace
}  // namespace vmla::data
