#include "analysis/rank/latent_statistics.h"

#include <ATen/ATen.h>

namespace vmla::analysis {

void LatentStatistics::add(const at::Tensor& latents) {
  const at::Tensor rows_MR = latents.detach().flatten(0, -2).to(at::kCPU, at::kDouble);
  if (tokens_ == 0) {
    shift_R_ = rows_MR.mean(0);
    sum_R_ = at::zeros_like(shift_R_);
    second_RR_ = at::zeros({shift_R_.size(0), shift_R_.size(0)}, shift_R_.options());
  }
  const at::Tensor moved_MR = rows_MR - shift_R_;
  tokens_ += rows_MR.size(0);
  sum_R_ += moved_MR.sum(0);
  second_RR_ += moved_MR.t().mm(moved_MR);
}

at::Tensor LatentStatistics::covariance() const {
  TORCH_CHECK(tokens_ > 0, "no latents were added");
  const auto count = static_cast<double>(tokens_);
  const at::Tensor mean = sum_R_ / count;
  return second_RR_ / count - at::outer(mean, mean);
}

LayerRank LatentStatistics::latents() const {
  return layer_rank(spectrum_of_gram(covariance()));
}

LayerRank LatentStatistics::content(const at::Tensor& kv_b) const {
  const at::Tensor up = kv_b.detach().to(at::kCPU, at::kDouble);
  return rank_of_grams(up.t().mm(up), covariance());
}

}  // namespace vmla::analysis
