#include "launch/commands/analyze_rank.h"

#include "analysis/study/rank_study.h"
#include "model/formats/load_weights.h"
#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

#include <filesystem>

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;

/// The name of the curve that a path gives a point to: RUN for RUN/checkpoints/step_N, else the
/// last part of the path.
std::string series_of(const fs::path& path, const fs::path& checkpoint) {
  const fs::path own = fs::weakly_canonical(checkpoint.empty() ? path : checkpoint);
  if (own.parent_path().filename() == "checkpoints")
    return own.parent_path().parent_path().filename();
  return own.filename();
}

analysis::RankPoint measure(const std::string& path, analysis::RankTracker& tracker) {
  // The trained weights and not their average, as in the run's own rank.h5.
  const model::LoadedWeights weights = model::load_weights(path, "raw");
  analysis::RankPoint point;
  const fs::path checkpoint = weights.step >= 0 ? io::find_checkpoint(path) : fs::path();
  point.series = series_of(path, checkpoint);
  if (!checkpoint.empty()) point.step = weights.step;
  point.init = weights.stated.init_method;
  const auto layers = analysis::latent_layers(weights.tensors, weights.source);
  point.layers = tracker.measure(layers);
  for (const auto& layer : layers) point.null.push_back(tracker.null_baseline(layer));
  return point;
}

}  // namespace

int run(const AnalyzeRankArgs& args) {
  analysis::RankTracker tracker;
  std::vector<analysis::RankPoint> points;
  for (const std::string& path : args.checkpoints) {
    points.push_back(measure(path, tracker));
    const analysis::RankPoint& point = points.back();
    for (size_t i = 0; i < point.layers.size(); ++i) {
      const auto& rank = point.layers[i].effective;
      log::info(
          "{} step {} layer {}: r_0.99 {:g} of {} (random product {:g}), stable {:g}, entropy {:g}",
          point.series,
          point.step,
          i,
          rank.r99_fractional,
          point.layers[i].rank,
          point.null[i].effective.r99_fractional,
          rank.stable_rank,
          rank.entropy_rank);
    }
  }
  analysis::write_rank_study(std::move(points), args.out);
  log::info("wrote {}/rank.h5, .csv, .svg, .html", args.out);
  return kDone;
}

}  // namespace vmla::launch
