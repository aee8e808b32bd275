#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/video/caption_adherence.h"
#include "analysis/video/drift_window.h"

/// Drift over long rollouts: does the end of a long video still look and move like its start, and
/// both like real clips? Figures (drift_window.h) are read in windows of equal length and judged
/// against real moving-shape clips of the same captions and the same length.
///
/// Four figures of each, defined at DriftBand and DriftCurve: the *band* of real clips, the *level*
/// of the sampled videos, their *shift* and their *score*. Shift and score are start-end contrasts
/// (FramePack, arXiv 2504.12626): |a measure of the end - the same of the start|. The measures need
/// no network, and the contrast is counted in units of what real clips do.
namespace vmla::analysis {

/// How a long video is cut.
struct DriftLayout {
  /// Pixel frames that are read; the last incomplete window is left out.
  int64_t frames = 0;
  /// About the length of a training clip (see read_drift_window).
  int64_t window_frames = 0;
  /// The chunks' lengths in pixel frames, from frame 0.
  std::vector<int64_t> chunk_frames;
  /// Frames a second of video; 0: unknown.
  double fps = 0;
  /// Clips show shapes before this ground. Shapes are read as if it were dark; the band is that of
  /// real clips with it.
  std::optional<data::MosaicConfig> mosaic = std::nullopt;

  int64_t windows() const { return window_frames > 0 ? frames / window_frames : 0; }
};

/// One video, window by window.
struct DriftReading {
  data::Combination asked;
  std::vector<DriftWindow> windows;
  /// Motion::border_jump over the whole video; 0: unknown.
  double border_jump = 0;
};

/// Reads `clip` by `layout`. c10::Error if the caption is not one of moving shapes, or the clip is
/// shorter than layout.frames, or layout has fewer than two windows.
DriftReading read_drift(const CaptionedClip& clip, const DriftLayout& layout);

/// What real clips do, for every figure and in the figure's own units.
struct DriftBand {
  int64_t clips = 0;
  /// The largest change from the first window to the last among them, and at least kLeastUnit of
  /// the mean (of full intensity, for figures of the background and the hue, which are zero in
  /// rendered clips): rendered clips lack the noise of a video file.
  std::array<double, kDriftFigures> unit{};
  /// Mean and standard deviation over all windows of all clips.
  std::array<double, kDriftFigures> mean{}, spread{};
  /// The score (DriftCurve) of other real clips: what no drift looks like, at most about 1.
  std::array<double, kDriftFigures> real_score{};
  /// Motion::border_jump of those other clips, about 1.
  double border_jump = 0;
};
inline constexpr double kLeastUnit = 0.02;

/// Renders real clips of `captions` (each equally often, at least 24 in all, and as many again for
/// `real_score`), drawn for training clips of `clip_frames` frames, at `side` pixels, and reads
/// them. Deterministic. c10::Error as read_drift.
DriftBand real_drift_band(const std::vector<std::string>& captions,
                          int64_t side,
                          int64_t clip_frames,
                          const DriftLayout& layout);

/// One figure of the sampled videos over the windows. Three questions, from the usual one to the
/// strict one.
struct DriftCurve {
  /// The *level*: the figure's mean over the videos, by window, in the figure's own units.
  std::vector<double> mean;
  /// The *band*: where the mean of as many real clips lies, their mean and three standard errors
  /// and a unit to each side.
  double low = 0, high = 0;
  /// The *shift*: |last level - first level| in half widths of the band, 0 or more. Less is better;
  /// above 1 the videos as a whole have drifted by more than what real clips do.
  double shift = 0;
  /// The *score*: mean over the videos of each one's own |last window - first window|, in units of
  /// the band, 0 or more. Less is better; at most 1 where each video's end resembles its own start
  /// as closely as a real clip's does. Strict, since a real clip changes by hardly more than the
  /// error of reading. It also sees videos that drift apart while their mean stays.
  double score = 0;

  /// Whether the last level lies in the band. A model whose first window is unlike real clips fails
  /// this without any drift.
  bool inside() const { return mean.back() >= low && mean.back() <= high; }
};

struct DriftMeasures {
  DriftLayout layout;
  int64_t clips = 0;
  std::array<DriftCurve, kDriftFigures> curves;
  /// Caption adherence by window: shares of the videos in 0..1 (caption_adherence.h).
  std::vector<double> colour, shape, direction;
  /// By window: the share of the videos in which a shape is there (presence.h), the shares of those
  /// in which it also has the right colour, form or direction, and the mean of Presence::area.
  std::vector<double> present, colour_present, shape_present, direction_present, area_share;
  /// The largest of the curves', and whose it is.
  double shift = 0, score = 0;
  DriftFigure shift_worst = DriftFigure::kBrightness, score_worst = DriftFigure::kBrightness;
  /// Motion::border_jump, mean over the videos where it is known; 1 is seamless, 0 unknown.
  double border_jump = 0;
  /// By window: amount of motion over that of real clips. 1 is right, towards 0 a video freezes.
  std::vector<double> motion_share;
  DriftBand band;

  /// The videos as a whole drift by no more than real clips do.
  bool within_band() const { return shift <= 1; }
  /// No figure of single videos changes by more than those of real ones.
  bool steady() const { return score <= 1; }
  /// Every figure's last level is that of real clips.
  bool inside() const;
};

/// Measures videos against the band of the same layout. Videos without a moving-shape caption are
/// left out; c10::Error if none is left.
DriftMeasures measure_drift(const std::vector<CaptionedClip>& clips,
                            const DriftLayout& layout,
                            const DriftBand& band);

}  // namespace vmla::analysis
