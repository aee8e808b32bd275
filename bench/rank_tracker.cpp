// Effective rank of 30 layers of Wan 1.3B's shape: the tracker against a full SVD of every composed
// map. bench/rank_tracker.py does the same with torch from Python.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string_view>

#include "analysis/rank/rank_tracker.h"
#include "analysis/rank/subspace.h"
#include "kernels/counter_rng/counter_rng.h"
#include "model/io/format.h"

namespace {

using vmla::analysis::LatentProjections;
using vmla::analysis::LayerRank;

// Wan 1.3B with latent attention: 12 heads with 96 unrotated key and 128 value channels, D = 1536.
constexpr int64_t kLayers = 30, kRows = 2688, kRank = 192, kRope = 32, kWidth = 1536;

// The laboratory's: 4 heads with 20 and 32 channels, D = 128.
constexpr int64_t kLabLayers = 3, kLabRows = 208, kLabRank = 24, kLabWidth = 128;

std::vector<LatentProjections> random_layers(uint64_t count,
                                             int64_t rows,
                                             int64_t rank,
                                             int64_t width) {
  std::vector<LatentProjections> layers;
  for (uint64_t i = 0; i < count; ++i) {
    const auto draw = [&](uint64_t which, std::vector<int64_t> sizes) {
      return vmla::kernels::normal({0, 0, vmla::kernels::Purpose::kInit, 0, 3 * i + which}, sizes) *
             0.02;
    };
    layers.push_back({draw(0, {rows, rank}), draw(1, {rank}) + 1, draw(2, {rank + kRope, width})});
  }
  return layers;
}

/// Seconds by the clock and of processor time; the latter stays meaningful on a machine that is
/// busy with other work.
struct Taken {
  double wall = 0, processor = 0;
};

template <class Action>
Taken time_of(const Action& action) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t processor = std::clock();
  action();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
          static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC};
}

/// What a run computes besides the composed maps' ranks: at every point the angles to the start,
/// and once the start's space and the nulls.
void print_costs_of_a_run(const char* name, const std::vector<LatentProjections>& layers) {
  const auto latent_rows = [](const LatentProjections& layer) {
    return layer.kv_a.narrow(0, 0, layer.kv_b.size(1));
  };
  vmla::analysis::RankTracker tracker;
  std::vector<at::Tensor> start;
  const Taken once = time_of([&] {
    tracker.nulls(layers, 0);
    for (const auto& layer : layers) start.push_back(vmla::analysis::row_space(latent_rows(layer)));
  });
  Taken best{.wall = 1e9, .processor = 1e9};
  for (int i = 0; i < 5; ++i) {
    const Taken taken = time_of([&] {
      tracker.measure(layers);
      for (size_t layer = 0; layer < layers.size(); ++layer) {
        vmla::analysis::principal_cosines(vmla::analysis::row_space(latent_rows(layers[layer])),
                                          start[layer]);
      }
    });
    best = {.wall = std::min(best.wall, taken.wall),
            .processor = std::min(best.processor, taken.processor)};
  }
  std::cout << vmla::formatted(
      "{}, {} layers: a point with angles {:.4f} s, of one processor {:.4f} s; once a run {:.3f} "
      "s, "
      "of one processor {:.3f} s\n",
      name,
      layers.size(),
      best.wall,
      best.processor,
      once.wall,
      once.processor);
}

/// The full SVD of some layers' composed maps.
struct FullSvd {
  Taken taken;
  double worst = 0;  // largest difference from the tracker's values, in units of s_1
};

FullSvd compare_with_svd(const std::vector<LatentProjections>& layers,
                         const std::vector<LayerRank>& ranks,
                         int64_t count) {
  FullSvd result;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    vmla::analysis::Spectrum full;
    const Taken taken = time_of([&] { full = composed_spectrum_reference(layers[i]); });
    result.taken.wall += taken.wall;
    result.taken.processor += taken.processor;
    for (size_t k = 0; k < full.size(); ++k) {
      const double difference = std::abs(ranks[i].spectrum[k] - full[k]) / full.front();
      result.worst = std::max(result.worst, difference);
    }
  }
  return result;
}

}  // namespace

/// --svd LAYERS: also run the full SVD on that many layers (about 2 s each) and compare the
/// spectra.
int main(int argc, char** argv) {
  const bool with_svd = argc == 3 && std::string_view(argv[1]) == "--svd";
  const int64_t svd_layers = with_svd ? std::min<int64_t>(std::atoll(argv[2]), kLayers) : 0;
  const std::vector<LatentProjections> layers = random_layers(kLayers, kRows, kRank, kWidth);
  const vmla::analysis::RankTracker tracker;
  std::vector<LayerRank> ranks;
  Taken best{.wall = 1e9, .processor = 1e9};
  for (int i = 0; i < 5; ++i) {
    const Taken taken = time_of([&] { ranks = tracker.measure(layers); });
    best = {.wall = std::min(best.wall, taken.wall),
            .processor = std::min(best.processor, taken.processor)};
  }
  std::cout << vmla::formatted(
      "tracker, {} layers of {}x{} . {}x{}, {} threads: {:.3f} s, of one processor {:.3f} s (best "
      "of 5)\n",
      kLayers,
      kRows,
      kRank,
      kRank,
      kWidth,
      at::get_num_threads(),
      best.wall,
      best.processor);
  print_costs_of_a_run("1.3B", layers);
  print_costs_of_a_run("laboratory", random_layers(kLabLayers, kLabRows, kLabRank, kLabWidth));
  if (svd_layers <= 0) return 0;
  const FullSvd svd = compare_with_svd(layers, ranks, svd_layers);
  const double scale = static_cast<double>(kLayers) / static_cast<double>(svd_layers);
  std::cout << vmla::formatted(
      "full fp64 SVD of all of them: {:.1f} s, of one processor {:.1f} s: {:.0f} and {:.0f} times "
      "as long; worst |ds| / s_1 {:.1e}\n",
      svd.taken.wall * scale,
      svd.taken.processor * scale,
      svd.taken.wall * scale / best.wall,
      svd.taken.processor * scale / best.processor,
      svd.worst);
  return 0;
}
