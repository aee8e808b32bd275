#include "data/inspect/dataset_scale.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "data/store/latent_dataset.h"
#include "model/codec/latent_scale.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

// All that is read: 16 clips of 81 frames at 480 x 832 are 68 MB.
constexpr int64_t kMostFiles = 16;
constexpr int64_t kMostClips = 16;
constexpr int64_t kMostClipsOfFile = 16;
constexpr int64_t kFramesOfClip = 4;

/// `count` of [first, end), evenly spread, both ends among them.
std::vector<int64_t> spread(int64_t first, int64_t end, int64_t count) {
  count = std::min(count, end - first);
  std::vector<int64_t> picked;
  for (int64_t i = 0; i < count; ++i)
    picked.push_back(first + (count == 1 ? 0 : i * (end - first - 1) / (count - 1)));
  return picked;
}

model::ChannelStatistics statistics_of(const LatentDataset& dataset,
                                       const std::vector<int64_t>& clips) {
  model::ChannelStatistics statistics;
  for (const int64_t clip : clips) {
    try {
      const at::Tensor latents_FCHW = dataset.latents(clip);
      const int64_t frames = latents_FCHW.size(0);
      const int64_t step = std::max<int64_t>(1, frames / kFramesOfClip);
      const at::Tensor some = latents_FCHW.slice(0, 0, std::numeric_limits<int64_t>::max(), step);
      if (at::isfinite(some).all().item<bool>()) statistics.add(some);
    } catch (const UserError&) {
      continue;  // a damaged clip is named by who reads it for its numbers
    }
  }
  return statistics;
}

/// Root mean square over the channels.
double size_of(const at::Tensor& values_C) {
  return values_C.square().mean().sqrt().item<double>();
}

/// What the statistics say in words; empty for what may be normalised.
std::string problem_of(const model::ChannelStatistics& statistics, const std::string& file) {
  const model::LatentScale scale = model::latent_scale(statistics);
  if (scale != model::LatentScale::kRaw && scale != model::LatentScale::kNormalisedTwice) return "";
  const bool raw = scale == model::LatentScale::kRaw;
  return formatted(
      "{}: its latents are {}: over the channels, means of {:.2f} and deviations of {:.2f} (root "
      "mean squares; about 0 and 1 are right); {}",
      file,
      raw ? "raw ones of Wan's VAE, and not normalised" : "normalised twice",
      size_of(statistics.mean()),
      size_of(statistics.deviation()),
      raw ? "a dataset holds (latent - mean) / deviation of each channel, as vmla data import "
            "--normalize writes"
          : "the mean is to be taken off, and the deviation divided by, once");
}

}  // namespace

std::vector<std::string> scale_problems(const LatentDataset& dataset) {
  if (!dataset.has_latents() || dataset.info().codec != "wan-vae") return {};
  std::vector<std::string> problems;
  const int64_t files = dataset.file_count();
  const int64_t looked_at = std::min(files, kMostFiles);
  for (const int64_t file : spread(0, files, looked_at)) {
    const auto [first, end] = dataset.clips_of_file(file);
    const int64_t count = std::min(kMostClipsOfFile, kMostClips / looked_at);
    const auto statistics = statistics_of(dataset, spread(first, end, count));
    std::string problem = problem_of(statistics, dataset.file_path(file).string());
    if (!problem.empty()) problems.push_back(std::move(problem));
  }
  return problems;
}

}  // namespace vmla::data
