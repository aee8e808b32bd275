#include "analysis/rank/rank_log.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace vmla::analysis {

void RankLog::append(int64_t step, std::vector<LayerRank> layers, RankExtras extras) {
  TORCH_CHECK(steps_.empty() || step > steps_.back(),
              "rank log: step ",
              step,
              " after step ",
              steps_.empty() ? 0 : steps_.back());
  TORCH_CHECK(measurements_.empty() || layers.size() == measurements_.front().size(),
              "rank log: ",
              layers.size(),
              " layers after a measurement with another number");
  steps_.push_back(step);
  measurements_.push_back(std::move(layers));
  extras_.push_back(std::move(extras));
}

void RankLog::cut_back(int64_t step) {
  while (!steps_.empty() && steps_.back() > step) {
    steps_.pop_back();
    measurements_.pop_back();
    extras_.pop_back();
  }
}

int64_t RankLog::num_layers() const {
  return measurements_.empty() ? static_cast<int64_t>(nulls_.product.size())
                               : static_cast<int64_t>(measurements_.front().size());
}

int64_t RankLog::rank_budget() const {
  int64_t budget = 0;
  for (const LayerRank& layer : measurements_.empty() ? nulls_.product : measurements_.front()) {
    budget = std::max(budget, layer.rank);
  }
  return budget;
}

double rank_share(const std::vector<LayerRank>& layers, double EffectiveRank::* figure) {
  double sum = 0;
  for (const LayerRank& layer : layers)
    sum += layer.effective.*figure / static_cast<double>(layer.rank);
  return layers.empty() ? 0 : sum / static_cast<double>(layers.size());
}

double mean_rank_share(const RankLog& ranks, size_t index) {
  return rank_share(ranks.measurements().at(index), &EffectiveRank::r99_fractional);
}

double last_rank_share(const RankLog& ranks) {
  return rank_share(ranks.measurements().back(), &EffectiveRank::r99_fractional);
}

double null_rank_share(const RankLog& ranks) {
  return rank_share(ranks.null(), &EffectiveRank::r99_fractional);
}

}  // namespace vmla::analysis
