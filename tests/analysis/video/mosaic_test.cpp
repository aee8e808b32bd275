#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "analysis/video/clip_measures.h"
#include "analysis/video/mosaic_ground_reader.h"
#include "analysis/video/mosaic_measures.h"
#include "data/synth/moving_shapes.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/codec/video_codec.h"

/// The readers of the mosaic on real clips, and on clips that are wrong in a known way.
namespace vmla::analysis {
namespace {

constexpr int64_t kFrames = 9, kSide = 16;
const std::vector<int64_t> kChunks = {3, 3, 3};

std::vector<data::ClipSpec> specs_of(int64_t count,
                                     uint64_t seed,
                                     const data::MosaicConfig& mosaic,
                                     bool held_out = true) {
  std::vector<data::ClipSpec> specs;
  for (int64_t i = 0; i < count; ++i)
    specs.push_back(data::draw_clip(seed, static_cast<uint64_t>(i), held_out, kFrames, mosaic));
  return specs;
}

std::vector<at::Tensor> clips_of(const std::vector<data::ClipSpec>& specs) {
  return data::render_clips(specs, kFrames, kSide).unbind(0);
}

std::vector<at::Tensor> latents_of(const std::vector<at::Tensor>& clips) {
  const auto codec = model::make_video_codec("space_to_depth:2");
  std::vector<at::Tensor> latents;
  for (const at::Tensor& clip : clips) latents.push_back(codec->encode(clip));
  return latents;
}

// Clips go through the held-out captions in turn.
std::vector<int64_t> kinds_of(int64_t clips) {
  std::vector<int64_t> kinds;
  for (int64_t i = 0; i < clips; ++i) kinds.push_back(i % 12);
  return kinds;
}

MosaicReference reference_of(const data::MosaicConfig& mosaic) {
  MosaicReference reference{
      .mosaic = mosaic, .real = {}, .patch = {1, 2, 2}, .patches = 64, .latent_frames = kFrames};
  std::vector<at::Tensor> patches;
  for (const at::Tensor& clip : latents_of(clips_of(specs_of(48, 2, mosaic))))
    patches.push_back(token_patches(clip, reference.patch, reference.patches));
  reference.real = {at::stack(patches), kinds_of(48)};
  return reference;
}

const std::vector<std::pair<const char*, data::MosaicConfig>> kDials = {
    {"rgb", {}},
    {"gray", {.channels = "gray"}},
    {"finer", {.cells = 16}},
    {"four values", {.levels = 4}},
    {"hidden", {.hidden_first = 3, .hidden_frames = 3}}};

TEST(MosaicReader, ReadsTheNumbersThatWereDrawn) {
  for (const auto& [name, mosaic] : kDials) {
    const auto specs = specs_of(12, 5, mosaic);
    const auto clips = clips_of(specs);
    double read = 0, off = 0;
    for (size_t i = 0; i < clips.size(); ++i) {
      const auto chunks = read_ground(clips[i], kChunks, mosaic);
      ASSERT_EQ(chunks.size(), 3u);
      const int64_t channels = mosaic.gray() ? 1 : 3;
      const at::Tensor drawn =
          (at::tensor(specs[i].ground->values, at::kDouble).view({3, mosaic.cells, mosaic.cells}) -
           mosaic.level) /
          mosaic.amplitude;
      for (size_t k = 0; k < 3; ++k) {
        const bool hidden = mosaic.hidden_frames > 0 && k == 1;
        EXPECT_EQ(chunks[k].is_read.any().item<bool>(), !hidden);
        const at::Tensor error = (chunks[k].numbers - drawn.narrow(0, 0, channels))
                                     .abs()
                                     .masked_select(chunks[k].is_read);
        if (error.numel() > 0) off += error.gt(0.021).to(at::kDouble).mean().item<double>() / 36;
        read += chunks[k].is_read.to(at::kDouble).mean().item<double>() / 36;
      }
    }
    EXPECT_GT(read, 0.3) << name;
    // Rounding to a byte is half of 1/127.5: in units of the amplitude 0.2, 0.02. A thin tip of a
    // shape that covers less than half of a pixel is not seen and may lie on a number or two.
    EXPECT_LT(off, 0.01) << name;
  }
}

TEST(MosaicMeasures, OfRealShuffledAndFadedClips) {
  for (const auto& [name, mosaic] : {kDials[0], kDials[1], kDials[4]}) {
    const MosaicReference reference = reference_of(mosaic);
    const auto real = clips_of(specs_of(48, 7, mosaic));
    const MosaicMeasures measures =
        measure_mosaic(real, latents_of(real), kinds_of(48), kChunks, reference);
    ASSERT_TRUE(measures.keep && measures.energy);
    EXPECT_GT(measures.keep->value, 0.999) << name;
    EXPECT_NEAR(measures.contrast.value, 1, 3 * measures.contrast.error + 0.01) << name;
    EXPECT_LT(std::abs(measures.energy->value), 3 * measures.energy->error) << name;
    EXPECT_LT(std::abs(measures.keep_shuffled), 0.05) << name;

    // Later chunks from another clip: nothing is kept.
    std::vector<at::Tensor> shuffled;
    for (size_t i = 0; i < real.size(); ++i) {
      shuffled.push_back(
          at::cat({real[i].narrow(0, 0, 3), real[(i + 1) % real.size()].narrow(0, 3, 6)}));
    }
    const MosaicMeasures mixed = measure_mosaic(shuffled, {}, {}, kChunks, reference);
    EXPECT_NEAR(mixed.keep->value, 0, 4 * mixed.keep->error) << name;
    EXPECT_FALSE(mixed.energy.has_value());

    // Half the contrast, as few denoising steps leave it: read as a half, and further from real
    // clips.
    std::vector<at::Tensor> faded;
    for (const at::Tensor& clip : real) {
      const at::Tensor ground = clip.amax(1, true).lt(-0.1);
      faded.push_back(at::where(ground, (clip - mosaic.level) / 2 + mosaic.level, clip));
    }
    const MosaicMeasures half =
        measure_mosaic(faded, latents_of(faded), kinds_of(48), kChunks, reference);
    EXPECT_NEAR(half.contrast.value, 0.5, 0.03) << name;
    EXPECT_GT(half.keep->value, 0.99) << name;
    EXPECT_GT(half.energy->value, measures.energy->value + 2 * half.energy->error) << name;
  }
}

TEST(MosaicMeasures, OfWhatIsNoMosaic) {
  const data::MosaicConfig mosaic;
  const MosaicReference reference = reference_of(mosaic);
  std::vector<at::Tensor> noise, blank, bright, broken;
  for (uint64_t i = 0; i < 12; ++i) {
    noise.push_back(kernels::normal({.seed = 1, .sample = i}, {kFrames, 3, kSide, kSide}));
    blank.push_back(at::full({kFrames, 3, kSide, kSide}, mosaic.level));
    bright.push_back(at::ones({kFrames, 3, kSide, kSide}));
    broken.push_back(at::full({kFrames, 3, kSide, kSide}, std::nan("")));
  }
  for (const auto& clips : {noise, blank, bright, broken}) {
    const MosaicMeasures measures = measure_mosaic(clips, {}, {}, kChunks, reference);
    EXPECT_NEAR(measures.keep->value, 0, 0.1);
    for (const auto& [key, value] : figures_of(measures)) EXPECT_TRUE(std::isfinite(value)) << key;
  }
  EXPECT_EQ(measure_mosaic(blank, {}, {}, kChunks, reference).contrast.value, 0);
  EXPECT_FALSE(measure_mosaic(blank, {}, {}, {9}, reference).keep.has_value());
}

TEST(MosaicMeasures, ShapesAreReadThroughTheGround) {
  for (const auto& [name, mosaic] : {kDials[0], kDials[1], kDials[4]}) {
    const MosaicReference reference = reference_of(mosaic);
    const auto specs = specs_of(60, 11, mosaic);
    const auto pixels = clips_of(specs);
    std::vector<CaptionedClip> clips;
    for (size_t i = 0; i < specs.size(); ++i)
      clips.push_back({pixels[i], data::caption_of(specs[i].what)});
    const ClipMeasures through = measure_clips(clips, kChunks, &reference);
    const auto& a = through.adherence;
    EXPECT_GE(a.colour, 0.99) << name;
    EXPECT_GE(a.direction, 0.99) << name;
    EXPECT_GE(a.shape, 0.95) << name;
    EXPECT_GE(a.present, 0.95) << name;
  }
}

TEST(EnergyDistance, OfKnownDistributions) {
  const auto draw = [](uint64_t sample, double shift) {
    return kernels::normal({.seed = 3, .sample = sample}, {64, 4, 1}) + shift;
  };
  const EnergyDistance same = energy_distance({draw(0, 0)}, {draw(1, 0)});
  EXPECT_LT(std::abs(same.value), 3 * same.error);
  // Of N(0, 1) and N(s, 1): 2 E|X - Y| is 2 (2 phi(s / sqrt 2) sqrt 2 + s (2 Phi(s / sqrt 2) - 1)),
  // E|X - X'| is 2 / sqrt pi.
  const double s = 2, u = s / std::sqrt(2.0);
  const double phi = std::exp(-u * u / 2) / std::sqrt(2 * std::numbers::pi);
  const double between = std::sqrt(2.0) * 2 * phi + s * std::erf(u / std::sqrt(2.0));
  const double wanted = 2 * between - 4 / std::sqrt(std::numbers::pi);
  const EnergyDistance apart = energy_distance({draw(0, 0)}, {draw(1, s)});
  EXPECT_NEAR(apart.value, wanted, 4 * apart.error);
  EXPECT_LT(apart.error, 0.2 * wanted);
  EXPECT_THROW(energy_distance({draw(0, 0)}, {draw(0, 0).narrow(0, 0, 1)}), c10::Error);
}

TEST(EnergyDistance, PatchesAreTheTokensOfTheNetwork) {
  const at::Tensor latents = at::arange(2 * 3 * 4 * 4).to(at::kFloat).view({2, 3, 4, 4});
  const at::Tensor all = token_patches(latents, {1, 2, 2}, 100);
  ASSERT_EQ(all.sizes(), at::IntArrayRef({8, 12}));
  EXPECT_TRUE(at::equal(all[5], latents[1].narrow(1, 0, 2).narrow(2, 2, 2).reshape({12})));
  EXPECT_EQ(token_patches(latents, {1, 2, 2}, 3).size(0), 3);
}

}  // namespace
}  // namespace vmla::analysis
