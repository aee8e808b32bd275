#include "analysis/video/energy_distance.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::analysis {
namespace {

// Mean distance of the vectors of clip i of `x` to those of clip j of `y`: [N, M].
at::Tensor mean_distances(const at::Tensor& x_NPD, const at::Tensor& y_MPD) {
  const int64_t n = x_NPD.size(0), m = y_MPD.size(0);
  const at::Tensor others = y_MPD.flatten(0, 1);
  at::Tensor means = at::empty({n, m}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {  // a clip at a time, so that memory does not grow with N M
    means[i] = at::cdist(x_NPD[i], others).to(at::kDouble).mean(0).view({m, y_MPD.size(1)}).mean(1);
  }
  return means;
}

// A set's clips by kind.
class Kinds {
 public:
  explicit Kinds(const PatchSet& set) {
    const int64_t n = set.vectors_NPD.size(0);
    std::map<int64_t, std::vector<int64_t>> by_kind;
    for (int64_t i = 0; i < n; ++i) {
      by_kind[set.kinds.empty() ? 0 : set.kinds[static_cast<size_t>(i)]].push_back(i);
    }
    member_ = at::zeros({static_cast<int64_t>(by_kind.size()), n}, at::kDouble);
    for (auto& [kind, clips] : by_kind) {
      for (const int64_t i : clips) member_[static_cast<int64_t>(clips_.size())][i] = 1;
      clips_.push_back(std::move(clips));
    }
  }
  bool each_has_two() const {
    return std::ranges::all_of(clips_, [](const auto& clips) { return clips.size() >= 2; });
  }
  // [kinds]: the share of the clips that a kind has.
  at::Tensor shares() const { return member_.mean(1); }
  // [kinds, clips]: `times` in the row of the clip's kind.
  at::Tensor rows_of(const at::Tensor& times) const { return member_ * times; }
  at::Tensor counts_of(const at::Tensor& times) const { return member_.mv(times); }
  at::Tensor ones() const { return at::ones({member_.size(1)}, at::kDouble); }
  // How often each clip is among as many of its kind that are drawn with replacement.
  at::Tensor drawn(uint64_t sample, uint32_t set) const {
    at::Tensor times = at::zeros_like(ones());
    const kernels::DrawKey key{
        .seed = 0, .step = 0, .purpose = kernels::Purpose::kNull, .role = set, .sample = sample};
    double* const count = times.data_ptr<double>();
    uint64_t draw = 0;
    for (const auto& clips : clips_) {
      for (size_t i = 0; i < clips.size(); ++i) {
        const int64_t chosen =
            kernels::uniform_index(key, static_cast<int64_t>(clips.size()), draw++);
        count[clips[static_cast<size_t>(chosen)]] += 1;
      }
    }
    return times;
  }

 private:
  std::vector<std::vector<int64_t>> clips_;  // by kind
  at::Tensor member_;                        // [kinds, clips]: 1 where the clip is of the kind
};

// E|X - Y| where clip i of x occurs times_x[i] times, clip j of y times_y[j].
double mean_between(const at::Tensor& distances_NM,
                    const Kinds& x,
                    const Kinds& y,
                    const at::Tensor& times_x,
                    const at::Tensor& times_y) {
  const at::Tensor means = x.rows_of(times_x).matmul(distances_NM).matmul(y.rows_of(times_y).t()) /
                           x.counts_of(times_x).outer(y.counts_of(times_y));
  return x.shares().dot(means.mv(y.shares())).item<double>();
}

// E|X - X'| over different clips. `plain`, [kinds, kinds], stands in for a kind of which one clip
// alone was drawn; it has the means without resampling, and is filled where it is not defined.
double mean_within(const at::Tensor& distances_NN,
                   const Kinds& kinds,
                   const at::Tensor& times,
                   at::Tensor& plain) {
  const at::Tensor rows = kinds.rows_of(times), counts = rows.sum(1);
  at::Tensor pairs = counts.outer(counts);
  pairs.diagonal().sub_(rows.square().sum(1));  // a clip is no pair with itself
  at::Tensor means = rows.matmul(distances_NN).matmul(rows.t()) / pairs.clamp_min(1);
  if (!plain.defined()) plain = means;
  means = at::where(pairs.gt(0), means, plain);
  return kinds.shares().dot(means.mv(kinds.shares())).item<double>();
}

}  // namespace

EnergyDistance energy_distance(const PatchSet& set_x, const PatchSet& set_y) {
  PatchSet x{set_x.vectors_NPD.to(at::kFloat), set_x.kinds};
  PatchSet y{set_y.vectors_NPD.to(at::kFloat), set_y.kinds};
  for (const PatchSet* set : {&x, &y}) {
    TORCH_CHECK(set->vectors_NPD.dim() == 3 && set->vectors_NPD.size(0) >= 2 &&
                    (set->kinds.empty() ||
                     static_cast<int64_t>(set->kinds.size()) == set->vectors_NPD.size(0)),
                "an energy distance is of at least two clips of vectors, got ",
                set->vectors_NPD.sizes(),
                " and ",
                set->kinds.size(),
                " kinds");
  }
  if (!Kinds(x).each_has_two() || !Kinds(y).each_has_two()) x.kinds = y.kinds = {};
  const Kinds kinds_x(x), kinds_y(y);
  const at::Tensor between = mean_distances(x.vectors_NPD, y.vectors_NPD);
  at::Tensor within_x = mean_distances(x.vectors_NPD, x.vectors_NPD);
  at::Tensor within_y = mean_distances(y.vectors_NPD, y.vectors_NPD);
  within_x.fill_diagonal_(0);
  within_y.fill_diagonal_(0);
  at::Tensor plain_x, plain_y;
  const auto distance = [&](const at::Tensor& times_x, const at::Tensor& times_y) {
    return 2 * mean_between(between, kinds_x, kinds_y, times_x, times_y) -
           mean_within(within_x, kinds_x, times_x, plain_x) -
           mean_within(within_y, kinds_y, times_y, plain_y);
  };
  EnergyDistance result;
  result.value = distance(kinds_x.ones(), kinds_y.ones());
  constexpr int kSamples = 200;
  double sum = 0, squares = 0;
  for (int k = 0; k < kSamples; ++k) {
    const auto sample = static_cast<uint64_t>(k);
    const double value = distance(kinds_x.drawn(sample, 1), kinds_y.drawn(sample, 2));
    sum += value;
    squares += value * value;
  }
  result.error = std::sqrt(std::max(0.0, squares / kSamples - sum / kSamples * sum / kSamples));
  return result;
}

at::Tensor token_patches(const at::Tensor& latents_FCHW, at::IntArrayRef patch, int64_t most) {
  TORCH_CHECK(latents_FCHW.dim() == 4 && patch.size() == 3 && most > 0,
              "patches are of latents [F, C, H, W], got ",
              latents_FCHW.sizes());
  const int64_t f = latents_FCHW.size(0) / patch[0], h = latents_FCHW.size(2) / patch[1],
                w = latents_FCHW.size(3) / patch[2];
  at::Tensor tokens = latents_FCHW.detach()
                          .to(at::kCPU, at::kFloat)
                          .narrow(0, 0, f * patch[0])
                          .narrow(2, 0, h * patch[1])
                          .narrow(3, 0, w * patch[2])
                          .reshape({f, patch[0], latents_FCHW.size(1), h, patch[1], w, patch[2]})
                          .permute({0, 3, 5, 2, 1, 4, 6})
                          .reshape({f * h * w, -1});
  const int64_t all = tokens.size(0);
  if (all <= most) return tokens;
  // A stride of the golden section meets every row, column and frame about equally often.
  constexpr double kGolden = 0.6180339887498949;
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < most; ++i) {
    const double place = static_cast<double>(i) * kGolden;
    chosen.push_back(static_cast<int64_t>((place - std::floor(place)) * static_cast<double>(all)));
  }
  return tokens.index_select(0, at::tensor(chosen, at::kLong));
}

}  // namespace vmla::analysis
