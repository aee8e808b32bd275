// Effective rank of 30 layers of Wan 1.3B's shape: the tracker against a full SVD of every composed
// map. bench/rank_tracker.py does the same with torch from Python.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "analysis/rank/rank_tracker.h"
#include "kernels/counter_rng/counter_rng.h"

namespace {

using vmla::analysis::LatentProjections;

constexpr int64_t kLayers = 30, kRows = 2688, kRank = 192, kRope = 32, kWidth = 1536;

std::vector<LatentProjections> wan_layers() {
  std::vector<LatentProjections> layers;
  for (uint64_t i = 0; i < kLayers; ++i) {
    const auto draw = [&](uint64_t which, std::vector<int64_t> sizes) {
      return vmla::kernels::normal({0, 0, vmla::kernels::Purpose::kInit, 0, 3 * i + which}, sizes) *
             0.02;
    };
    layers.push_back(
        {draw(0, {kRows, kRank}), draw(1, {kRank}) + 1, draw(2, {kRank + kRope, kWidth})});
  }
  return layers;
}

/// Wall and processor seconds; the second stays meaningful on a machine that is busy with other
/// work.
struct Taken {
  double wall = 1e9, processor = 1e9;
};

template <class Action>
Taken time_of(const Action& action) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t processor = std::clock();
  action();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
          static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC};
}

}  // namespace

/// --svd LAYERS: also run the full SVD on that many layers (about 2 s each) and compare the
/// spectra.
int main(int argc, char** argv) {
  const int64_t svd_layers =
      argc == 3 && std::strcmp(argv[1], "--svd") == 0 ? std::atoll(argv[2]) : 0;
  const std::vector<LatentProjections> layers = wan_layers();
  const vmla::analysis::RankTracker tracker;
  std::vector<vmla::analysis::LayerRank> ranks;
  Taken best;
  for (int i = 0; i < 5; ++i) {
    const Taken taken = time_of([&] { ranks = tracker.measure(layers); });
    best = {std::min(best.wall, taken.wall), std::min(best.processor, taken.processor)};
  }
  std::printf(
      "tracker, %ld layers of %ldx%ld . %ldx%ld, %d threads: %.3f s, of one processor %.3f s (best "
      "of 5)\n",
      static_cast<long>(kLayers),
      static_cast<long>(kRows),
      static_cast<long>(kRank),
      static_cast<long>(kRank),
      static_cast<long>(kWidth),
      at::get_num_threads(),
      best.wall,
      best.processor);
  Taken svd{0, 0};
  double worst = 0;
  for (int64_t i = 0; i < std::min(svd_layers, kLayers); ++i) {
    vmla::analysis::Spectrum full;
    const Taken taken =
        time_of([&] { full = composed_spectrum_reference(layers[static_cast<size_t>(i)]); });
    svd = {svd.wall + taken.wall, svd.processor + taken.processor};
    const auto& found = ranks[static_cast<size_t>(i)].spectrum;
    for (size_t k = 0; k < full.size(); ++k)
      worst = std::max(worst, std::abs(found[k] - full[k]) / full.front());
  }
  if (svd_layers > 0) {
    const double scale = static_cast<double>(kLayers) / static_cast<double>(svd_layers);
    std::printf(
        "full fp64 SVD of all of them: %.1f s, of one processor %.1f s: %.0f and %.0f times as "
        "long; worst |ds| / s_1 %.1e\n",
        svd.wall * scale,
        svd.processor * scale,
        svd.wall * scale / best.wall,
        svd.processor * scale / best.processor,
        worst);
  }
  return 0;
}
