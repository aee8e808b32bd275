#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "analysis/video/caption_adherence.h"
#include "analysis/video/drift_window.h"

/// Drift over long rollouts: does the end of a long video still look and move like its start, and
/// both like real clips? Every figure is read in windows of equal length and judged against real
/// moving-shape clips of the same captions and the same length.
namespace vmla::analysis {

/// How a long video is cut.
struct DriftLayout {
  int64_t frames = 0;         // pixel frames that are read; the last incomplete window is left out
  int64_t window_frames = 0;  // about the length of a training clip (see read_drift_window)
  std::vector<int64_t> chunk_frames;  // the chunks' lengths from frame 0
  double fps = 0;                     // 0: unknown

  int64_t windows() const { return window_frames > 0 ? frames / window_frames : 0; }
};

/// One video, window by window.
struct DriftReading {
  data::Combination asked;
  std::vector<DriftWindow> windows;
  double border_jump = 0;  // over the whole video, as in motion.h; 0: unknown
};

/// Reads `clip` by `layout`. c10::Error if the caption is not one of moving shapes, or the clip is
/// shorter than layout.frames, or layout has fewer than two windows.
DriftReading read_drift(const CaptionedClip& clip, const DriftLayout& layout);

/// What real clips do. A figure's *unit* is the largest change from the first window to the last
/// among them, and at least kLeastUnit of its mean (of full intensity, for figures of the
/// background and hue, which are zero in rendered clips): those lack the noise of a video file.
struct DriftBand {
  int64_t clips = 0;
  std::array<double, kDriftFigures> unit{};
  std::array<double, kDriftFigures> mean{}, spread{};  // over all windows of all clips
  std::array<double, kDriftFigures> real_score{};  // of other real clips (measure_drift's score)
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

/// One figure over the windows. Three questions, from the usual one to the strict one.
///
/// *Shift*: how far has the mean over the videos moved from the first window to the last, in half
/// widths of the band in which the mean of as many real clips lies (three standard errors and a
/// unit)? Above 1 the videos have drifted out of what real clips do. *Level*: does the last
/// window's mean lie in that band? A model whose first window is unlike real clips fails this
/// without any drift. *Score*: does each video's end resemble its own start as closely as a real
/// clip's does? Strict, since a real clip changes by hardly more than the error of reading.
struct DriftCurve {
  std::vector<double> mean;  // over the videos, by window
  double shift = 0;          // |last mean - first mean| / half the band's width
  double score = 0;          // mean |last - first| over the videos, in the band's units
  double low = 0, high = 0;  // of the level
  bool inside() const { return mean.back() >= low && mean.back() <= high; }
};

struct DriftMeasures {
  DriftLayout layout;
  int64_t clips = 0;
  std::array<DriftCurve, kDriftFigures> curves;
  std::vector<double> colour, shape, direction;  // adherence by window, shares
  double shift = 0, score = 0;                   // the largest of the curves'
  DriftFigure shift_worst = DriftFigure::kBrightness, score_worst = DriftFigure::kBrightness;
  double border_jump = 0;            // mean over the videos where it is known
  std::vector<double> motion_share;  // by window: amount of motion / that of real clips
  DriftBand band;

  /// The videos as a whole stay within the band of real clips.
  bool within_band() const { return shift <= 1; }
  /// No video changes more than real ones.
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
