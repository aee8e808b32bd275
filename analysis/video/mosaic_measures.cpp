#include "analysis/video/mosaic_measures.h"

#include <ATen/ATen.h>

#include <cmath>

#include "analysis/video/mosaic_ground_reader.h"

namespace vmla::analysis {
namespace {

// Fewer numbers than this say nothing about a correlation or a variance.
constexpr int64_t kLeastNumbers = 8;

double correlation(const GroundReading& a, const GroundReading& b) {
  const at::Tensor both = a.is_read.logical_and(b.is_read);
  at::Tensor x = a.numbers.masked_select(both), y = b.numbers.masked_select(both);
  if (x.numel() < kLeastNumbers) return 0;
  x = x - x.mean();
  y = y - y.mean();
  const double norm = std::sqrt(x.dot(x).item<double>() * y.dot(y).item<double>());
  return norm > 0 ? x.dot(y).item<double>() / norm : 0;
}

double variance(const GroundReading& reading) {
  const at::Tensor numbers = reading.numbers.masked_select(reading.is_read);
  return numbers.numel() < kLeastNumbers ? 0 : numbers.var(/*unbiased=*/true).item<double>();
}

Estimate estimate_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double v : values) mean += v / n;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (n - 1) / n) : 0.0};
}

// Of variances: their root, and by the slope of the root its error.
Estimate root_of(const Estimate& variance) {
  const double root = std::sqrt(variance.value);
  return {root, root > 0 ? variance.error / (2 * root) : 0.0};
}

// The chunks of a clip in which the ground is not hidden all the time, with chunk 0 in front. A
// model that never shows the ground has readings too, of nothing.
std::vector<GroundReading> shown_chunks(const at::Tensor& clip_F3HW,
                                        const std::vector<int64_t>& chunk_frames,
                                        const data::MosaicConfig& mosaic) {
  std::vector<int64_t> chunks;
  std::vector<bool> shown;
  int64_t first = 0;
  for (const int64_t frames : chunk_frames) {
    if (first + frames > clip_F3HW.size(0)) break;
    bool any = false;
    for (int64_t f = first; f < first + frames; ++f) any |= !mosaic.is_hidden(f);
    chunks.push_back(frames);
    shown.push_back(any);
    first += frames;
  }
  std::vector<GroundReading> readings;
  const auto all = read_ground(clip_F3HW, chunks, mosaic);
  for (size_t k = 0; k < all.size(); ++k) {
    if (shown[k]) readings.push_back(all[k]);
  }
  return readings;
}

void put_ground(const std::vector<std::vector<GroundReading>>& clips, MosaicMeasures& measures) {
  std::vector<double> keep, keep_last, shuffled, variances, first, last;
  for (size_t i = 0; i < clips.size(); ++i) {
    const auto& own = clips[i];
    if (own.empty()) continue;
    double spread = 0;
    for (const auto& chunk : own) spread += variance(chunk) / static_cast<double>(own.size());
    variances.push_back(spread);
    first.push_back(variance(own.front()));
    last.push_back(variance(own.back()));
    if (own.size() < 2) continue;
    const auto& other = clips[(i + 1) % clips.size()];
    const auto later = static_cast<double>(own.size() - 1);
    double mean = 0, by_chance = 0;
    for (size_t k = 1; k < own.size(); ++k) {
      mean += correlation(own[0], own[k]) / later;
      if (k < other.size()) by_chance += correlation(own[0], other[k]) / later;
    }
    keep.push_back(mean);
    shuffled.push_back(by_chance);
    keep_last.push_back(correlation(own[0], own.back()));
  }
  if (!keep.empty()) {
    measures.keep = estimate_of(keep);
    measures.keep_last = estimate_of(keep_last);
    measures.keep_shuffled = estimate_of(shuffled).value;
  }
  if (variances.empty()) return;
  measures.contrast = root_of(estimate_of(variances));
  measures.contrast_first = root_of(estimate_of(first)).value;
  measures.contrast_last = root_of(estimate_of(last)).value;
}

// Of `latents`, from frame `first(clip)` on.
template <class First>
EnergyDistance energy_from(const std::vector<at::Tensor>& latents,
                           const std::vector<int64_t>& kinds,
                           const MosaicReference& reference,
                           const First& first) {
  std::vector<at::Tensor> patches;
  for (const at::Tensor& clip : latents) {
    const int64_t frames = std::min(reference.latent_frames, clip.size(0));
    patches.push_back(
        token_patches(clip.narrow(0, first(clip), frames), reference.patch, reference.patches));
  }
  return energy_distance({at::stack(patches), kinds}, reference.real);
}

void put_energy(const std::vector<at::Tensor>& latents,
                const std::vector<int64_t>& kinds,
                const MosaicReference& reference,
                MosaicMeasures& measures) {
  if (latents.size() < 2 || !reference.real.vectors_NPD.defined()) return;
  measures.energy = energy_from(latents, kinds, reference, [](const at::Tensor&) { return 0; });
  if (latents.front().size(0) < 2 * reference.latent_frames) return;
  measures.energy_last = energy_from(latents, kinds, reference, [&](const at::Tensor& clip) {
    return clip.size(0) - reference.latent_frames;
  });
}

}  // namespace

MosaicMeasures measure_mosaic(const std::vector<at::Tensor>& clips,
                              const std::vector<at::Tensor>& latents,
                              const std::vector<int64_t>& kinds,
                              const std::vector<int64_t>& chunk_frames,
                              const MosaicReference& reference) {
  MosaicMeasures measures;
  measures.clips = static_cast<int64_t>(clips.size());
  std::vector<std::vector<GroundReading>> readings;
  for (const at::Tensor& clip : clips) {
    readings.push_back(shown_chunks(clip, chunk_frames, reference.mosaic));
  }
  put_ground(readings, measures);
  put_energy(latents, kinds, reference, measures);
  return measures;
}

std::map<std::string, double> figures_of(const MosaicMeasures& m) {
  std::map<std::string, double> figures = {{"clips", static_cast<double>(m.clips)},
                                           {"contrast", m.contrast.value},
                                           {"contrast_se", m.contrast.error},
                                           {"contrast_first", m.contrast_first},
                                           {"contrast_last", m.contrast_last}};
  const auto put = [&](const std::string& name, const auto& estimate) {
    if (!estimate) return;
    figures[name] = estimate->value;
    figures[name + "_se"] = estimate->error;
  };
  put("keep", m.keep);
  put("keep_last", m.keep_last);
  put("energy", m.energy);
  put("energy_last", m.energy_last);
  if (m.keep) figures["keep_shuffled"] = m.keep_shuffled;
  return figures;
}

}  // namespace vmla::analysis
