#include "launch/commands/analyze_rank.h"

#include "analysis/rank/subspace.h"
#include "analysis/study/latent_activations.h"
#include "analysis/study/rank_study.h"
#include "model/formats/load_weights.h"
#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"
#include "model/weights/local_weights.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <memory>

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;

/// What the rows of each layer's down-projection span.
using RowSpaces = std::vector<at::Tensor>;

/// The name of the curve that a path gives a point to: RUN for RUN/checkpoints/step_N, else the
/// last part of the path.
std::string series_of(const fs::path& path, const fs::path& checkpoint) {
  const fs::path own = fs::weakly_canonical(checkpoint.empty() ? path : checkpoint);
  if (own.parent_path().filename() == "checkpoints")
    return own.parent_path().parent_path().filename();
  return own.filename();
}

RowSpaces row_spaces(const std::vector<analysis::LatentProjections>& layers) {
  RowSpaces spaces;
  for (const analysis::LatentProjections& layer : layers)
    spaces.push_back(analysis::row_space(layer.kv_a.narrow(0, 0, layer.kv_b.size(1))));
  return spaces;
}

/// The trained weights and not their average, as in the run's own rank.h5.
model::LoadedWeights load(const std::string& path) {
  return model::load_weights(path, "raw");
}

/// UserError where the layers are not those of the weights that turned.
void check_start(const RowSpaces& start, const RowSpaces& now, const std::string& source) {
  const bool fits =
      start.size() == now.size() &&
      std::equal(start.begin(), start.end(), now.begin(), [](const auto& a, const auto& b) {
        return a.sizes() == b.sizes();
      });
  if (!fits) {
    fail_user(
        "{}: its latents do not have the layers and ranks of those it shall be compared with "
        "(--start, or the first checkpoint of the run)",
        source);
  }
}

/// One command's measurements, with what they share.
class Study {
 public:
  explicit Study(const AnalyzeRankArgs& args) : clips_count_(args.clips) {
    if (!args.data.empty()) {
      clips_ = std::make_unique<data::LatentDataset>(args.data);
      if (!clips_->has_latents())
        fail_user("{}: is a set of prompts; --data needs clips", args.data);
    }
    if (!args.start.empty()) {
      const model::LoadedWeights weights = load(args.start);
      given_start_ = row_spaces(analysis::latent_layers(weights.tensors, weights.source));
    }
  }

  analysis::RankPoint measure(const std::string& path) {
    const model::LoadedWeights weights = load(path);
    analysis::RankPoint point;
    const fs::path checkpoint = weights.step >= 0 ? io::find_checkpoint(path) : fs::path();
    point.series = series_of(path, checkpoint);
    if (!checkpoint.empty()) point.step = weights.step;
    point.init = weights.stated.init_method;
    const auto layers = analysis::latent_layers(weights.tensors, weights.source);
    point.layers = tracker_.measure(layers);
    point.nulls = tracker_.nulls(layers, point.step);
    add_cosines(point, row_spaces(layers), weights.source);
    if (clips_) add_latents(point, layers, weights);
    return point;
  }

 private:
  void add_cosines(analysis::RankPoint& point, const RowSpaces& now, const std::string& source) {
    const auto [first, is_first] = first_of_series_.try_emplace(point.series, now);
    if (is_first && given_start_.empty()) return;  // nothing that it could have turned from
    const RowSpaces& start = given_start_.empty() ? first->second : given_start_;
    check_start(start, now, source);
    for (size_t layer = 0; layer < now.size(); ++layer)
      point.extras.cosines.push_back(analysis::principal_cosines(now[layer], start[layer]));
  }

  void add_latents(analysis::RankPoint& point,
                   const std::vector<analysis::LatentProjections>& layers,
                   const model::LoadedWeights& weights) const {
    const model::ModelConfig config = model::model_config_with(weights, {});
    model::FrozenWeights source(config, weights.tensors, weights.source);
    const auto latents =
        analysis::measure_latents({config, source}, *clips_, clips_count_, at::kFloat);
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      point.extras.latents.push_back(latents[layer].latents());
      point.extras.content.push_back(latents[layer].content(layers[layer].kv_b));
    }
  }

  analysis::RankTracker tracker_;
  int64_t clips_count_;
  std::unique_ptr<data::LatentDataset> clips_;
  RowSpaces given_start_;
  std::map<std::string, RowSpaces> first_of_series_;
};

void log_point(const analysis::RankPoint& point) {
  for (size_t i = 0; i < point.layers.size(); ++i) {
    const analysis::EffectiveRank& rank = point.layers[i].effective;
    const analysis::EffectiveRank& product = point.nulls.product[i].effective;
    const analysis::EffectiveRank& truncated = point.nulls.truncated[i].effective;
    std::string more;
    if (!point.extras.latents.empty()) {
      more += formatted("; entropy rank of latents {:.3g}, of keys and values {:.3g}",
                        point.extras.latents[i].effective.entropy_rank,
                        point.extras.content[i].effective.entropy_rank);
    }
    if (!point.extras.cosines.empty()) {
      more += formatted("; {:.1f} % of the start's space",
                        100 * analysis::subspace_overlap(point.extras.cosines[i]));
    }
    log::info(
        "{} step {} layer {}: entropy rank {:.4g} of {} (random product {:.4g}, truncated SVD "
        "of noise {:.4g}), r_0.99 {:.4g} ({:.4g}, {:.4g}), stable {:.4g}{}",
        point.series,
        point.step,
        i,
        rank.entropy_rank,
        point.layers[i].rank,
        product.entropy_rank,
        truncated.entropy_rank,
        rank.r99_fractional,
        product.r99_fractional,
        truncated.r99_fractional,
        rank.stable_rank,
        more);
  }
}

}  // namespace

int run(const AnalyzeRankArgs& args) {
  Study study(args);
  std::vector<analysis::RankPoint> points;
  for (const std::string& path : args.checkpoints) {
    points.push_back(study.measure(path));
    log_point(points.back());
  }
  analysis::write_rank_study(std::move(points), args.out);
  log::info("wrote {}/rank.h5, .csv, .svg, .html", args.out);
  return kDone;
}

}  // namespace vmla::launch
