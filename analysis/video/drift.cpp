#include "analysis/video/drift.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "analysis/video/mosaic_ground_reader.h"
#include "analysis/video/motion.h"

namespace vmla::analysis {
namespace {

constexpr uint64_t kBandSeed = 20260605;
constexpr double kStandardErrors = 3;  // that a mean over videos may lie off
constexpr int64_t kLeastClips = 24;    // of the band, and as many that are scored against it

// Where a rendered clip shows nothing, the noise of a video file is all there is to measure by.
// Such a figure's least unit is a share of full intensity instead of its mean.
bool zero_in_rendered_clips(size_t figure) {
  switch (static_cast<DriftFigure>(figure)) {
    case DriftFigure::kBackground:
    case DriftFigure::kBackgroundContrast:
    case DriftFigure::kBackgroundTint:
    case DriftFigure::kShapeHue:
      return true;
    default:
      return false;
  }
}

double change(const DriftReading& reading, size_t figure) {
  return reading.windows.back().values[figure] - reading.windows.front().values[figure];
}

// DriftCurve::score of every figure.
std::array<double, kDriftFigures> scores_of(const std::vector<DriftReading>& readings,
                                            const DriftBand& band) {
  std::array<double, kDriftFigures> scores{};
  for (size_t i = 0; i < kDriftFigures; ++i) {
    for (const DriftReading& reading : readings) {
      scores[i] += std::abs(change(reading, i)) / band.unit[i];
    }
    scores[i] /= static_cast<double>(readings.size());
  }
  return scores;
}

// The first `count` clips of the band's seed whose captions are among these. Draws take all
// captions of a kind (held out or not) in turn, so that those of one kind are balanced.
std::vector<data::ClipSpec> real_specs(const std::set<std::string>& captions,
                                       int64_t clip_frames,
                                       int64_t count,
                                       const std::optional<data::MosaicConfig>& mosaic) {
  std::vector<data::ClipSpec> specs;
  for (uint64_t index = 0; static_cast<int64_t>(specs.size()) < count; ++index) {
    for (const bool held_out : {false, true}) {
      const data::ClipSpec spec = data::draw_clip(kBandSeed, index, held_out, clip_frames, mosaic);
      if (captions.contains(data::caption_of(spec.what))) specs.push_back(spec);
    }
  }
  return specs;
}

// Mean border jump of those readings that know one; 0 without any.
double mean_jump(const std::vector<DriftReading>& readings) {
  double sum = 0, known = 0;
  for (const DriftReading& reading : readings) {
    sum += reading.border_jump;
    known += reading.border_jump > 0;
  }
  return known > 0 ? sum / known : 0;
}

// Fills in the unit, the mean and the spread of one figure.
void put_figure(const std::vector<DriftReading>& readings, size_t figure, DriftBand& band) {
  const auto windows = static_cast<double>(readings.size() * readings.front().windows.size());
  double most = 0, mean = 0, squares = 0;
  for (const DriftReading& reading : readings) {
    most = std::max(most, std::abs(change(reading, figure)));
    for (const DriftWindow& window : reading.windows) mean += window.values[figure] / windows;
  }
  for (const DriftReading& reading : readings) {
    for (const DriftWindow& window : reading.windows) {
      squares += (window.values[figure] - mean) * (window.values[figure] - mean);
    }
  }
  const double scale = zero_in_rendered_clips(figure) ? 1.0 : std::abs(mean);
  band.mean[figure] = mean;
  band.spread[figure] = std::sqrt(squares / windows);
  band.unit[figure] = std::max(most, kLeastUnit * scale);
}

// Shares of the videos that show something, and what was asked, by window.
void put_adherence(const std::vector<DriftReading>& readings, DriftMeasures& measures) {
  const size_t windows = readings.front().windows.size();
  const auto count = static_cast<double>(readings.size());
  for (std::vector<double>* shares : {&measures.colour,
                                      &measures.shape,
                                      &measures.direction,
                                      &measures.present,
                                      &measures.colour_present,
                                      &measures.shape_present,
                                      &measures.direction_present,
                                      &measures.area_share}) {
    shares->assign(windows, 0);
  }
  for (const DriftReading& reading : readings) {
    for (size_t w = 0; w < windows; ++w) {
      const DriftWindow& window = reading.windows[w];
      const ClipAdherence read{reading.asked, window.shown, window.presence};
      measures.colour[w] += read.colour() / count;
      measures.shape[w] += read.shape() / count;
      measures.direction[w] += read.direction() / count;
      measures.present[w] += read.present() / count;
      measures.colour_present[w] += (read.present() && read.colour()) / count;
      measures.shape_present[w] += (read.present() && read.shape()) / count;
      measures.direction_present[w] += (read.present() && read.direction()) / count;
      measures.area_share[w] += read.presence.area / count;
    }
  }
}

// Level, band and shift of one figure.
DriftCurve curve_of(const std::vector<DriftReading>& readings,
                    size_t figure,
                    const DriftBand& band) {
  const auto count = static_cast<double>(readings.size());
  DriftCurve curve;
  curve.mean.assign(readings.front().windows.size(), 0);
  for (const DriftReading& reading : readings) {
    for (size_t w = 0; w < curve.mean.size(); ++w)
      curve.mean[w] += reading.windows[w].values[figure] / count;
  }
  const double half_width =
      kStandardErrors * band.spread[figure] / std::sqrt(count) + band.unit[figure];
  curve.low = band.mean[figure] - half_width;
  curve.high = band.mean[figure] + half_width;
  curve.shift = std::abs(curve.mean.back() - curve.mean.front()) / half_width;
  return curve;
}

}  // namespace

DriftReading read_drift(const CaptionedClip& clip, const DriftLayout& layout) {
  const auto asked = data::parse_caption(clip.caption);
  TORCH_CHECK(asked.has_value(), "not a caption of moving shapes: ", clip.caption);
  TORCH_CHECK(clip.pixels_F3HW.size(0) >= layout.frames && layout.windows() >= 2,
              "a video of ",
              clip.pixels_F3HW.size(0),
              " frames is read as ",
              layout.frames,
              " in windows of ",
              layout.window_frames,
              "; two windows are the least");
  DriftReading reading{*asked, {}, 0};
  const at::Tensor shapes =
      layout.mosaic ? without_ground(clip.pixels_F3HW, *layout.mosaic) : clip.pixels_F3HW;
  for (int64_t window = 0; window < layout.windows(); ++window) {
    reading.windows.push_back(read_drift_window(
        shapes.narrow(0, window * layout.window_frames, layout.window_frames), *asked));
  }
  reading.border_jump =
      measure_motion(clip.pixels_F3HW.narrow(0, 0, layout.frames), layout.chunk_frames).border_jump;
  return reading;
}

DriftBand real_drift_band(const std::vector<std::string>& captions,
                          int64_t side,
                          int64_t clip_frames,
                          const DriftLayout& layout) {
  std::set<std::string> wanted;
  for (const std::string& caption : captions) {
    const auto what = data::parse_caption(caption);
    TORCH_CHECK(what.has_value(), "not a caption of moving shapes: ", caption);
    wanted.insert(data::caption_of(*what));
  }
  const auto kinds = static_cast<int64_t>(wanted.size());
  TORCH_CHECK(kinds > 0, "a band of real clips needs a caption");
  const int64_t half = (kLeastClips + kinds - 1) / kinds * kinds;
  const std::vector<data::ClipSpec> specs =
      real_specs(wanted, clip_frames, 2 * half, layout.mosaic);
  // Half of them make the band, the others are scored against it.
  std::vector<DriftReading> band_clips, scored_clips;
  for (size_t i = 0; i < specs.size(); ++i) {
    // One at a time: long clips are large.
    const at::Tensor pixels = data::render_clips({specs[i]}, layout.frames, side)[0];
    auto& half_of = static_cast<int64_t>(i) < half ? band_clips : scored_clips;
    half_of.push_back(read_drift({pixels, data::caption_of(specs[i].what)}, layout));
  }

  DriftBand band;
  band.clips = half;
  for (size_t i = 0; i < kDriftFigures; ++i) put_figure(band_clips, i, band);
  band.real_score = scores_of(scored_clips, band);
  band.border_jump = mean_jump(scored_clips);
  return band;
}

bool DriftMeasures::inside() const {
  return std::all_of(
      curves.begin(), curves.end(), [](const DriftCurve& curve) { return curve.inside(); });
}

DriftMeasures measure_drift(const std::vector<CaptionedClip>& clips,
                            const DriftLayout& layout,
                            const DriftBand& band) {
  std::vector<DriftReading> readings;
  for (const CaptionedClip& clip : clips) {
    if (data::parse_caption(clip.caption)) readings.push_back(read_drift(clip, layout));
  }
  TORCH_CHECK(!readings.empty(), "no video with a caption of moving shapes to measure drift on");
  DriftMeasures result;
  result.layout = layout;
  result.band = band;
  result.clips = static_cast<int64_t>(readings.size());
  result.border_jump = mean_jump(readings);
  put_adherence(readings, result);
  const auto scores = scores_of(readings, band);
  for (size_t i = 0; i < kDriftFigures; ++i) {
    DriftCurve& curve = result.curves[i];
    curve = curve_of(readings, i, band);
    curve.score = scores[i];
    if (curve.shift > result.shift) {
      result.shift = curve.shift;
      result.shift_worst = static_cast<DriftFigure>(i);
    }
    if (curve.score > result.score) {
      result.score = curve.score;
      result.score_worst = static_cast<DriftFigure>(i);
    }
  }
  const auto motion = static_cast<size_t>(DriftFigure::kMotion);
  for (const double amount : result.curves[motion].mean) {
    result.motion_share.push_back(band.mean[motion] > 0 ? amount / band.mean[motion] : 0);
  }
  return result;
}

}  // namespace vmla::analysis
