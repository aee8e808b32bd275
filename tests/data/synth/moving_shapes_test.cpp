#include "data/synth/moving_shapes.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "model/codec/space_to_depth_codec.h"

namespace vmla::data {
namespace {

TEST(MovingShapes, TwelveOfSeventyTwoAreHeldOut) {
  EXPECT_EQ(combinations(true).size(), 12u);
  EXPECT_EQ(combinations(false).size(), 60u);
  for (int i = 0; i < kNumCombinations; ++i) {
    const Combination what = combination_at(i);
    EXPECT_EQ((what.colour * 3 + what.shape) * 4 + what.direction, i);
    EXPECT_EQ(is_held_out(what), (3 * what.colour + 5 * what.shape + 7 * what.direction) % 6 == 0);
  }
}

TEST(MovingShapes, CaptionsAreReadBack) {
  EXPECT_EQ(caption_of({0, 0, 0}), "a red circle moves left");
  EXPECT_EQ(caption_of({5, 2, 3}), "a white triangle moves down");
  for (int i = 0; i < kNumCombinations; ++i) {
    EXPECT_EQ(parse_caption(caption_of(combination_at(i))), combination_at(i));
  }
  EXPECT_EQ(parse_caption("A  Red\tCIRCLE moves left\n"), (Combination{0, 0, 0}));
  for (const char* wrong :
       {"", "a red circle", "a red circle moves left now", "a pink circle moves left"}) {
    EXPECT_EQ(parse_caption(wrong), std::nullopt) << wrong;
  }
}

TEST(MovingShapes, ADrawDependsOnItsAddressAlone) {
  const ClipSpec a = draw_clip(7, 5, false, 9), b = draw_clip(7, 5, false, 9);
  EXPECT_EQ(a.size, b.size);
  EXPECT_EQ(a.texture, b.texture);
  EXPECT_NE(a.size, draw_clip(8, 5, false, 9).size);
  EXPECT_NE(a.size, draw_clip(7, 65, false, 9).size);
}

TEST(MovingShapes, SetsHoldTheirCombinationsAndRanges) {
  for (const bool held_out : {false, true}) {
    std::set<std::string> captions;
    for (uint64_t i = 0; i < 120; ++i) {
      const ClipSpec spec = draw_clip(1, i, held_out, 9);
      EXPECT_EQ(is_held_out(spec.what), held_out);
      captions.insert(caption_of(spec.what));
      EXPECT_GE(spec.size, kMinSize);
      EXPECT_LE(spec.size, kMaxSize);
      EXPECT_GE(spec.speed * 8, kMinTravel);
      EXPECT_LE(spec.speed * 8, kMaxTravel);
      // It starts near the edge it comes from: opposite to where it goes.
      const auto step = kDirectionStep[static_cast<size_t>(spec.what.direction)];
      const double along = step[0] != 0 ? spec.start_x : spec.start_y;
      const bool forward = step[0] + step[1] > 0;
      EXPECT_LT(forward ? along : 1 - along, 0.25);
    }
    EXPECT_EQ(captions.size(), held_out ? 12u : 60u);
  }
}

TEST(MovingShapes, TheShapeMovesAsItsCaptionSaysAndWraps) {
  for (int direction = 0; direction < 4; ++direction) {
    ClipSpec spec;
    spec.what = {0, 0, direction};
    spec.speed = 0.3;
    const auto step = kDirectionStep[static_cast<size_t>(direction)];
    for (int64_t f = 0; f < 20; ++f) {
      const auto centre = centre_at(spec, f);
      for (size_t axis = 0; axis < 2; ++axis) {
        const double expected = 0.5 + 0.3 * static_cast<double>(f) * step[axis];
        const double off = centre[axis] - expected;
        EXPECT_NEAR(off, std::round(off), 1e-12);
        EXPECT_GE(centre[axis], 0);
        EXPECT_LT(centre[axis], 1);
      }
    }
  }
}

/// Mean level (0..1) of each channel over the pixels whose centres lie within `radius` of (x, y).
std::array<double, 3> level_near(
    const std::vector<uint8_t>& rgb, int64_t side, double x, double y, double radius) {
  std::array<double, 3> sum = {0, 0, 0};
  double count = 0;
  for (int64_t row = 0; row < side; ++row) {
    for (int64_t column = 0; column < side; ++column) {
      const double dx = (static_cast<double>(column) + 0.5) / static_cast<double>(side) - x;
      const double dy = (static_cast<double>(row) + 0.5) / static_cast<double>(side) - y;
      if (dx * dx + dy * dy > radius * radius) continue;
      for (size_t c = 0; c < 3; ++c)
        sum[c] += rgb[static_cast<size_t>((row * side + column) * 3) + c] / 255.0;
      count += 1;
    }
  }
  for (double& s : sum) s /= count;
  return sum;
}

TEST(MovingShapes, PicturesShowTheColourTheAreaAndTheBorder) {
  constexpr int64_t kSide = 128;
  std::vector<uint8_t> rgb(kSide * kSide * 3);
  for (int colour = 0; colour < 6; ++colour) {
    for (int shape = 0; shape < 3; ++shape) {
      ClipSpec spec;
      spec.what = {colour, shape, 1};
      render_frame(spec, 0, kSide, rgb.data());
      const auto centre = level_near(rgb, kSide, 0.5, 0.5, 0.05);
      double area = 0;
      for (size_t i = 0; i < rgb.size(); i += 3) {
        const size_t pixel = i / 3, row = pixel / kSide, column = pixel % kSide;
        const bool inside =
            std::min({row, column, kSide - 1 - row, kSide - 1 - column}) >= kSide / 16;
        // Texture 0 everywhere: a covered pixel has the base intensity in its channels.
        const size_t on =
            kColourChannels[static_cast<size_t>(colour)][0] ? 0 : (colour == 1 ? 1 : 2);
        if (inside)
          area += (rgb[i + on] - kDarkLevel) / (kTextureBase * (kBrightLevel - kDarkLevel));
      }
      // Anti-aliasing is exact along straight edges and off by the curvature and the corners:
      // within 2 %.
      EXPECT_NEAR(area / (kSide * kSide), spec.size * spec.size, 0.02 * spec.size * spec.size);
      for (size_t c = 0; c < 3; ++c) {
        const bool on = kColourChannels[static_cast<size_t>(colour)][c] != 0;
        const double expected =
            (kDarkLevel + (on ? kTextureBase * (kBrightLevel - kDarkLevel) : 0)) / 255;
        EXPECT_NEAR(centre[c], expected, 0.5 / 255 + 1e-9);  // rounding to a byte
      }
    }
  }
  const double half = (kDarkLevel + kBorderIntensity * (kBrightLevel - kDarkLevel)) / 255;
  const auto left = level_near(rgb, kSide, 0.03, 0.5, 0.02),
             top = level_near(rgb, kSide, 0.5, 0.03, 0.02);
  const auto right = level_near(rgb, kSide, 0.97, 0.5, 0.02),
             bottom = level_near(rgb, kSide, 0.5, 0.97, 0.02);
  EXPECT_NEAR(left[0], half, 0.01);
  EXPECT_NEAR(right[1], half, 0.01);
  EXPECT_NEAR(top[2], half, 0.01);
  EXPECT_NEAR(bottom[0], half, 0.01);
  EXPECT_NEAR(bottom[1], half, 0.01);
  EXPECT_NEAR(left[1], kDarkLevel / 255.0, 0.01);
}

TEST(MovingShapes, TensorsAreAveragedPictures) {
  const ClipSpec spec = draw_clip(3, 4, false, 9);
  const at::Tensor small = render_clips({spec}, 9, 16);
  ASSERT_EQ(small.sizes(), (at::IntArrayRef{1, 9, 3, 16, 16}));
  const at::Tensor large = render_clips({spec}, 9, 128);
  const at::Tensor mean = large.view({1, 9, 3, 16, 8, 16, 8}).mean(at::IntArrayRef{4, 6});
  // Both are means of the same bytes, summed in another order: fp32 rounding of 64 terms.
  EXPECT_LT((small - mean).abs().max().item<double>(), 64 * 1.2e-7);
}

TEST(MovingShapes, LatentsHaveUnitMeanSquare) {
  const model::SpaceToDepthCodec codec(2);
  std::vector<ClipSpec> specs;
  for (uint64_t i = 0; i < 60; ++i) specs.push_back(draw_clip(0, i, false, 9));
  const at::Tensor pixels = render_clips(specs, 9, 16).flatten(0, 1);
  const at::Tensor latents = codec.encode(pixels);
  EXPECT_NEAR(latents.pow(2).mean().item<double>(), 1.0, 0.1);
  EXPECT_NEAR(latents.select(1, 0).mean().item<double>(), 0.0, 0.1);
}

}  // namespace
}  // namespace vmla::data
