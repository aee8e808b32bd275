#include "analysis/video/drift.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "analysis/video/drift_summary.h"
#include "tests/analysis/real_clips.h"

namespace vmla::analysis {
namespace {

constexpr int64_t kSide = 16, kClipFrames = 9;

DriftLayout layout_of(int64_t windows) {
  DriftLayout layout;
  layout.frames = windows * kClipFrames;
  layout.window_frames = kClipFrames;
  layout.chunk_frames.assign(static_cast<size_t>(windows) * 3, 3);
  layout.fps = 8;
  return layout;
}

/// Long clips of the held-out captions, drawn with another seed than the band's.
std::vector<CaptionedClip> long_clips(int64_t count, const DriftLayout& layout) {
  std::vector<CaptionedClip> clips;
  for (int64_t i = 0; i < count; ++i) {
    const data::ClipSpec spec =
        data::draw_clip(5, static_cast<uint64_t>(i), /*held_out=*/true, kClipFrames);
    clips.push_back(
        {data::render_clips({spec}, layout.frames, kSide)[0], data::caption_of(spec.what)});
  }
  return clips;
}

const DriftBand& band() {
  static const DriftBand kBand = [] {
    std::vector<std::string> captions;
    for (const auto& what : data::combinations(true)) captions.push_back(data::caption_of(what));
    return real_drift_band(captions, kSide, kClipFrames, layout_of(6));
  }();
  return kBand;
}

const std::vector<CaptionedClip>& real() {
  static const std::vector<CaptionedClip> kClips = long_clips(12, layout_of(6));
  return kClips;
}

/// The real clips, each frame changed by a function of the frame and of its place in 0..1.
using Change = std::function<at::Tensor(const at::Tensor& clip, int64_t frame, double place)>;
DriftMeasures measure_changed(const Change& change) {
  std::vector<CaptionedClip> clips;
  for (const CaptionedClip& clip : real()) {
    std::vector<at::Tensor> frames;
    const int64_t count = clip.pixels_F3HW.size(0);
    for (int64_t f = 0; f < count; ++f) {
      frames.push_back(
          change(clip.pixels_F3HW, f, static_cast<double>(f) / static_cast<double>(count - 1)));
    }
    clips.push_back({at::stack(frames), clip.caption});
  }
  return measure_drift(clips, layout_of(6), band());
}

double score(const DriftMeasures& measures, DriftFigure figure) {
  return measures.curves[static_cast<size_t>(figure)].score;
}

TEST(Drift, RealClipsLieInsideTheBand) {
  const DriftMeasures found = measure_drift(real(), layout_of(6), band());
  EXPECT_EQ(found.clips, 12);
  EXPECT_LT(found.score, 1.0) << kDriftFigureNames[static_cast<size_t>(found.score_worst)];
  EXPECT_TRUE(found.steady());
  EXPECT_TRUE(found.within_band());
  EXPECT_TRUE(found.inside());
  for (size_t i = 0; i < kDriftFigures; ++i) {
    EXPECT_LT(band().real_score[i], 1.0) << kDriftFigureNames[i];
    EXPECT_TRUE(found.curves[i].inside()) << kDriftFigureNames[i];
    EXPECT_EQ(found.curves[i].mean.size(), 6u);
  }
  for (const double share : found.colour) EXPECT_EQ(share, 1.0);
  for (const double share : found.direction) EXPECT_EQ(share, 1.0);
  // A mean of 12 clips whose speeds and sizes differ: 20 % covers three standard errors.
  for (const double share : found.motion_share) EXPECT_NEAR(share, 1.0, 0.2);
  EXPECT_NEAR(found.border_jump, band().border_jump, 0.1);
}

TEST(Drift, ClipsOfTheVideoPathLieInsideTheBand) {
  // H.264 and the resizing leave their noise, which rendered clips lack. One window and a half.
  DriftLayout layout = layout_of(2);
  layout.window_frames = 7;
  layout.frames = 14;
  std::vector<CaptionedClip> clips;
  std::vector<std::string> captions;
  for (size_t i = 0; i < 48; ++i) {
    captions.push_back(data::caption_of(held_out_clips().specs[i].what));
    clips.push_back({held_out_clips().side16[static_cast<int64_t>(i)], captions.back()});
  }
  const DriftMeasures found =
      measure_drift(clips, layout, real_drift_band(captions, kSide, kClipFrames, layout));
  EXPECT_TRUE(found.steady()) << found.score << " "
                              << kDriftFigureNames[static_cast<size_t>(found.score_worst)];
  EXPECT_TRUE(found.within_band()) << drift_line(found);
  EXPECT_TRUE(found.inside()) << drift_line(found);
}

TEST(Drift, SlowFade) {
  const DriftMeasures found = measure_changed([](const at::Tensor& clip, int64_t f, double place) {
    return (clip[f] + 1) * (1 - 0.4 * place) - 1;
  });
  EXPECT_GT(score(found, DriftFigure::kBrightness), 1.0);
  EXPECT_GT(score(found, DriftFigure::kShapeBrightness), 1.0);
  EXPECT_FALSE(found.within_band());
  EXPECT_FALSE(found.inside());
}

TEST(Drift, SlowColourShift) {
  const DriftMeasures found = measure_changed([](const at::Tensor& clip, int64_t f, double place) {
    at::Tensor frame = clip[f].clone();
    frame[0] += 0.3 * place;
    return frame;
  });
  EXPECT_GT(score(found, DriftFigure::kRed), 1.0);
  EXPECT_GT(score(found, DriftFigure::kBackgroundTint), 1.0);
  EXPECT_LT(score(found, DriftFigure::kGreen), 1.0);
  EXPECT_FALSE(found.within_band());
  EXPECT_FALSE(found.inside());
}

TEST(Drift, MotionThatFreezes) {
  const DriftMeasures found = measure_changed([](const at::Tensor& clip, int64_t f, double) {
    return clip[std::min<int64_t>(f, clip.size(0) / 2)];
  });
  EXPECT_GT(score(found, DriftFigure::kMotion), 1.0);
  EXPECT_NEAR(found.motion_share.back(), 0.0, 1e-6);
  EXPECT_FALSE(found.steady());
  EXPECT_FALSE(found.within_band());
  EXPECT_FALSE(found.inside());
}

TEST(Drift, MotionThatWasNeverThere) {
  // Nothing changes from the first window to the last: only the level tells.
  const DriftMeasures found =
      measure_changed([](const at::Tensor& clip, int64_t, double) { return clip[0]; });
  EXPECT_EQ(score(found, DriftFigure::kMotion), 0.0);
  EXPECT_FALSE(found.curves[static_cast<size_t>(DriftFigure::kMotion)].inside());
  EXPECT_TRUE(found.within_band());
  EXPECT_FALSE(found.inside());
}

TEST(Drift, ABiasThatDoesNotChangeIsNoDrift) {
  // Every frame equally pale: unlike real clips from the first window on, and not more so at the
  // last.
  const DriftMeasures found = measure_changed(
      [](const at::Tensor& clip, int64_t f, double) { return (clip[f] + 1) * 0.6 - 1; });
  EXPECT_TRUE(found.within_band());
  EXPECT_FALSE(found.inside());
}

TEST(Drift, VideosThatChangeEitherWayShowInTheScoreAlone) {
  // Every other video grows paler, the others more vivid: their mean stays.
  std::vector<CaptionedClip> clips;
  for (size_t i = 0; i < real().size(); ++i) {
    const CaptionedClip& clip = real()[i];
    const int64_t count = clip.pixels_F3HW.size(0);
    const at::Tensor gain =
        1 + at::linspace(0, i % 2 == 0 ? 0.1 : -0.1, count).view({count, 1, 1, 1});
    clips.push_back({(clip.pixels_F3HW + 1) * gain - 1, clip.caption});
  }
  const DriftMeasures found = measure_drift(clips, layout_of(6), band());
  const DriftCurve& level = found.curves[static_cast<size_t>(DriftFigure::kShapeBrightness)];
  EXPECT_GT(level.score, 1.0);
  EXPECT_LT(level.shift, 1.0);
}

TEST(Drift, ShapesThatGrowAndBlur) {
  const DriftMeasures blurred =
      measure_changed([](const at::Tensor& clip, int64_t f, double place) {
        const at::Tensor soft =
            at::avg_pool2d(clip[f].unsqueeze(0), {3, 3}, {1, 1}, {1, 1}, false, false)[0];
        return clip[f] * (1 - place) + soft * place;
      });
  EXPECT_GT(score(blurred, DriftFigure::kSharpness), 1.0);

  const DriftLayout layout = layout_of(6);
  std::vector<CaptionedClip> growing;
  for (uint64_t i = 0; i < 12; ++i) {
    data::ClipSpec spec = data::draw_clip(5, i, true, kClipFrames);
    at::Tensor clip = at::empty({layout.frames, 3, kSide, kSide});
    at::Tensor rgb = at::empty({128, 128, 3}, at::kByte);
    const double first = spec.size;
    for (int64_t f = 0; f < layout.frames; ++f) {
      spec.size = first * (1 + 0.3 * static_cast<double>(f) / static_cast<double>(layout.frames));
      data::render_frame(spec, f, 128, rgb.data_ptr<uint8_t>());
      clip[f] = rgb.to(at::kFloat)
                    .view({kSide, 128 / kSide, kSide, 128 / kSide, 3})
                    .mean(at::IntArrayRef{1, 3})
                    .permute({2, 0, 1})
                    .div(127.5)
                    .sub(1);
    }
    growing.push_back({clip, data::caption_of(spec.what)});
  }
  EXPECT_GT(score(measure_drift(growing, layout, band()), DriftFigure::kSize), 1.0);
}

TEST(Drift, TheBandIsTheSameEveryTime) {
  const std::vector<std::string> captions = {"a red circle moves left", "a blue square moves up"};
  const DriftBand a = real_drift_band(captions, kSide, kClipFrames, layout_of(2));
  const DriftBand b = real_drift_band(captions, kSide, kClipFrames, layout_of(2));
  EXPECT_EQ(a.clips, 24);
  EXPECT_EQ(a.unit, b.unit);
  EXPECT_EQ(a.real_score, b.real_score);
}

TEST(Drift, TheSummaryHoldsEveryFigureByWindow) {
  const auto json = nlohmann::json::parse(drift_json(measure_drift(real(), layout_of(6), band())));
  EXPECT_EQ(json.at("windows"), 6);
  EXPECT_EQ(json.at("inside"), true);
  EXPECT_EQ(json.at("within_band"), true);
  EXPECT_LT(json.at("shift").get<double>(), 1.0);
  EXPECT_EQ(json.at("adherence").at("colour").size(), 6u);
  EXPECT_EQ(json.at("adherence").at("colour_last"), 1.0);
  EXPECT_EQ(json.at("figures").size(), kDriftFigures);
  EXPECT_EQ(json.at("figures").at("size").at("by_window").size(), 6u);
  EXPECT_DOUBLE_EQ(json.at("seconds").get<double>(), 54.0 / 8);
}

TEST(Drift, RefusesWhatCannotBeRead) {
  const CaptionedClip clip{at::zeros({18, 3, 16, 16}), "a red circle moves left"};
  EXPECT_THROW(read_drift(clip, layout_of(3)), c10::Error);  // too short
  EXPECT_THROW(read_drift(clip, layout_of(1)), c10::Error);  // one window has no drift
  EXPECT_THROW(read_drift({clip.pixels_F3HW, "a dog"}, layout_of(2)), c10::Error);
  EXPECT_EQ(read_drift(clip, layout_of(2)).windows.size(), 2u);  // dark, but a video
}

}  // namespace
}  // namespace vmla::analysis
