#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "data/make_dataset.h"
#include "data/store/latent_dataset.h"
#include "data/synth/moving_shapes.h"
#include "data/synth/synth_videos.h"
#include "model/codec/video_codec.h"
#include "model/io/error.h"
#include "tests/data/encode/shape_videos.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace {

TEST(Mosaic, ValuesHaveTheirMeanAndRms) {
  for (const int64_t levels : {2, 3, 4, 16}) {
    const MosaicConfig mosaic{.levels = levels, .amplitude = 0.1};
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < levels; ++j) {
      sum += mosaic.value(j) - mosaic.level;
      squares += std::pow(mosaic.value(j) - mosaic.level, 2);
    }
    EXPECT_NEAR(sum, 0, 1e-12);
    EXPECT_NEAR(std::sqrt(squares / static_cast<double>(levels)), 0.1, 1e-12);
  }
}

TEST(Mosaic, AGroundIsAFunctionOfItsClipAlone) {
  const MosaicConfig rgb, gray{.channels = "gray"};
  const MosaicGround ground = draw_ground(rgb, 3, 70, false);
  EXPECT_EQ(ground.values.size(), 3u * 64);
  EXPECT_EQ(ground.values, draw_ground(rgb, 3, 70, false).values);
  for (const MosaicGround& other : {draw_ground(rgb, 4, 70, false),
                                    draw_ground(rgb, 3, 71, false),
                                    draw_ground(rgb, 3, 70, true)}) {
    EXPECT_NE(ground.values, other.values);
  }
  const std::vector<double> first(ground.values.begin(), ground.values.begin() + 64);
  const MosaicGround one = draw_ground(gray, 3, 70, false);
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_TRUE(
        std::equal(first.begin(), first.end(), one.values.begin() + 64 * static_cast<long>(c)));
  }
  // Each of two values about as often: 4 standard deviations of 192 fair coins.
  double ups = 0;
  for (const double value : ground.values) ups += value > rgb.level;
  EXPECT_NEAR(ups, 96, 4 * std::sqrt(192) / 2);
  EXPECT_EQ(std::set<double>(ground.values.begin(), ground.values.end()).size(), 2u);
}

TEST(Mosaic, TheShapeIsThatOfTheClipWithoutAGround) {
  const ClipSpec plain = draw_clip(3, 5, false, 9),
                 before = draw_clip(3, 5, false, 9, MosaicConfig{});
  EXPECT_EQ(plain.size, before.size);
  EXPECT_EQ(plain.texture, before.texture);
  const at::Tensor a = render_clips({plain}, 9, 16), b = render_clips({before}, 9, 16);
  const at::Tensor bright = a.amax(2) > 0.9;  // [1, 9, 16, 16]: deep inside the shape
  ASSERT_GT(bright.sum().item<int64_t>(), 0);
  EXPECT_TRUE(at::equal(a.amax(2).masked_select(bright), b.amax(2).masked_select(bright)));
  // The border is as it was.
  EXPECT_TRUE(at::equal(a.select(3, 0), b.select(3, 0)));
  EXPECT_GT((a - b).abs().mean().item<double>(), 0.2);
}

TEST(Mosaic, AHiddenGroundIsShownAgain) {
  const MosaicConfig mosaic{.hidden_first = 3, .hidden_frames = 3};
  const ClipSpec spec = draw_clip(3, 5, false, 9, mosaic);
  const MosaicGround& ground = *spec.ground;
  for (int64_t f = 0; f < 9; ++f) {
    EXPECT_EQ(ground.at(1, 0.3, 0.7, f),
              f >= 3 && f < 6 ? mosaic.level : ground.at(1, 0.3, 0.7, 0));
  }
}

TEST(Mosaic, WhatCannotBeReadBackIsRefused) {
  const auto key_of = [](const MosaicConfig& mosaic) {
    const auto problem = mosaic_problem(mosaic, 9, 16);
    return problem ? problem->first : "";
  };
  EXPECT_EQ(key_of({}), "");
  EXPECT_EQ(key_of({.cells = 16, .channels = "gray", .levels = 4, .amplitude = 0.1}), "");
  EXPECT_EQ(key_of({.cells = 1}), "cells");
  EXPECT_EQ(key_of({.cells = 5}), "cells");
  EXPECT_EQ(key_of({.channels = "cmyk"}), "channels");
  EXPECT_EQ(key_of({.levels = 1}), "levels");
  EXPECT_EQ(key_of({.amplitude = 0}), "amplitude");
  EXPECT_EQ(key_of({.amplitude = 0.6}), "level");
  EXPECT_EQ(key_of({.level = 0.1}), "level");
  EXPECT_EQ(key_of({.level = std::nan("")}), "level");
  EXPECT_EQ(key_of({.hidden_first = -1}), "hidden_first");
  EXPECT_EQ(key_of({.hidden_frames = 9}), "hidden_frames");
}

TEST(Mosaic, ASceneIsReadBackAndStrangeOnesAreRefused) {
  const MosaicConfig mosaic{.cells = 16, .channels = "gray", .levels = 4, .amplitude = 0.1};
  EXPECT_EQ(parse_scene(scene_text(mosaic), "x.h5"), mosaic);
  EXPECT_EQ(parse_scene(scene_text(std::nullopt), "x.h5"), std::nullopt);
  for (const char* text :
       {"mosaic",
        "[]",
        R"({"scene": "street"})",
        R"({"scene": 3})",
        R"({"scene": "mosaic", "cells": 8})",
        R"({"scene":"mosaic","cells":"8","channels":"rgb","levels":2,)"
        R"("amplitude":0.2,"level":-0.45,"hidden_first":0,"hidden_frames":0})",
        R"({"scene":"mosaic","cells":99999999999,"channels":"rgb","levels":2,)"
        R"("amplitude":0.2,"level":-0.45,"hidden_first":0,"hidden_frames":0})"}) {
    EXPECT_NE(error_of<UserError>([&] { parse_scene(text, "x.h5"); }).find("x.h5: scene"),
              std::string::npos)
        << text;
  }
}

/// Rms difference of the ground's numbers and what an encoded clip shows of them where and when the
/// shape is far, in units of the amplitude; and the share of numbers whose nearest value is
/// another.
struct GroundError {
  double rms = 0, wrong = 0;
};
GroundError ground_error(const LatentDataset& dataset, const MosaicConfig& mosaic, uint64_t seed) {
  const auto codec = model::make_video_codec(dataset.info().codec);
  double squares = 0, wrong = 0, count = 0;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const ClipSpec spec = draw_clip(seed, static_cast<uint64_t>(i), false, 9, mosaic);
    const at::Tensor pixels =
        codec->decode(dataset.latents(i).to(at::kFloat));  // [9, 3, side, side]
    const int64_t side = pixels.size(3), cell = side / mosaic.cells;
    for (int64_t f = 0; f < 9; ++f) {
      if (mosaic.is_hidden(f)) continue;
      const auto centre = centre_at(spec, f);
      for (int64_t row = 1; row < mosaic.cells - 1; ++row) {
        for (int64_t column = 1; column < mosaic.cells - 1; ++column) {
          const auto at = [&](int64_t k) {
            return (static_cast<double>(k) + 0.5) / static_cast<double>(mosaic.cells);
          };
          double dx = at(column) - centre[0], dy = at(row) - centre[1];
          dx -= std::round(dx), dy -= std::round(dy);
          if (std::hypot(dx, dy) < spec.size) continue;
          for (int64_t c = 0; c < 3; ++c) {
            const double wanted = spec.ground->at(c, at(column), at(row), f);
            const double found = pixels[f][c]
                                     .narrow(0, row * cell, cell)
                                     .narrow(1, column * cell, cell)
                                     .mean()
                                     .item<double>();
            squares += std::pow((found - wanted) / mosaic.amplitude, 2);
            double nearest = 1e9;
            for (int64_t j = 0; j < mosaic.levels; ++j)
              nearest = std::min(nearest, std::abs(found - mosaic.value(j)));
            wrong += std::abs(found - wanted) > nearest + 1e-9;
            count += 1;
          }
        }
      }
    }
  }
  return {std::sqrt(squares / count), wrong / count};
}

TEST(Mosaic, IsReadableBehindTheRealPathOfVideoFiles) {
  struct Dial {
    const char* name;
    MosaicConfig mosaic;
  };
  for (const Dial& dial :
       {Dial{"rgb", {}},
        Dial{"gray, hidden", {.channels = "gray", .hidden_first = 3, .hidden_frames = 3}},
        Dial{"finer", {.cells = 16}},
        Dial{"four values", {.levels = 4}}}) {
    const TemporaryFolder folder;
    MakeConfig config;
    config.synth_count = 6;
    config.videos = folder / "videos";
    config.seed = 3;
    config.scene = MakeConfig::kMosaic;
    config.mosaic = dial.mosaic;
    make_dataset(config, folder / "m.h5");
    const LatentDataset dataset(folder / "m.h5");
    EXPECT_EQ(parse_scene(dataset.info().scene, "m.h5"), dial.mosaic);
    const GroundError error = ground_error(dataset, dial.mosaic, 3);
    EXPECT_EQ(error.wrong, 0) << dial.name;
    // Two of 255 levels: what H.264 at 128 pixels leaves, and the latents' bf16.
    EXPECT_LT(error.rms, 0.15) << dial.name;
    make_dataset(config, folder / "m.h5");  // nothing to do
    config.mosaic.amplitude = 0.19;
    EXPECT_NE(
        error_of<UserError>([&] { make_dataset(config, folder / "m.h5"); }).find("make.mosaic"),
        std::string::npos);
    config.scene = MakeConfig::kShapes;
    EXPECT_NE(
        error_of<UserError>([&] { make_dataset(config, folder / "m.h5"); }).find("wants no mosaic"),
        std::string::npos);
  }
}

TEST(Mosaic, AFolderOfAnotherGroundIsRefused) {
  const TemporaryFolder folder;
  SynthOptions options = synth_options(folder / "a", 2);
  options.mosaic = MosaicConfig{};
  synth_videos(options);
  EXPECT_EQ(parse_scene(scene_of_folder(folder / "a"), "a"), *options.mosaic);
  synth_videos(options);
  options.mosaic->level = -0.4;
  EXPECT_THROW(synth_videos(options), UserError);
  options.mosaic.reset();
  EXPECT_THROW(synth_videos(options), UserError);
  EXPECT_EQ(scene_of_folder(folder.path()), "");
}

}  // namespace
}  // namespace vmla::data
