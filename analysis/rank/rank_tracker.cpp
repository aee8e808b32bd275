#include "analysis/rank/rank_tracker.h"

#include "analysis/rank/random_spectra.h"
#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <iterator>
#include <utility>

namespace vmla::analysis {
namespace {

void check_shapes(const LatentProjections& layer) {
  TORCH_CHECK(layer.kv_b.dim() == 2 && layer.kv_a.dim() == 2 && layer.kv_gain.dim() == 1,
              "the composed map needs matrices kv_b, kv_a and a vector gain, got ",
              layer.kv_b.sizes(),
              ", ",
              layer.kv_a.sizes(),
              ", ",
              layer.kv_gain.sizes());
  const int64_t rank = layer.kv_b.size(1);
  TORCH_CHECK(rank > 0 && layer.kv_gain.size(0) == rank && layer.kv_a.size(0) >= rank,
              "kv_b has ",
              rank,
              " columns: the gain must have as many entries (has ",
              layer.kv_gain.size(0),
              ") and kv_a at least as many rows (has ",
              layer.kv_a.size(0),
              ")");
}

// One thread for as long as it lives. LAPACK's reductions of an R x R matrix are hundreds of short
// products with a barrier after each: at R = 192 a second thread makes them up to three times
// slower, while one core waits for the other.
class SingleThread {
 public:
  SingleThread() : before_(at::get_num_threads()) { at::set_num_threads(1); }
  ~SingleThread() { at::set_num_threads(before_); }
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int before_;
};

// The fp64 copies that a layer needs, kept from layer to layer: fresh pages for each would cost a
// third of the time.
struct Workspace {
  at::Tensor up, down;
};

// Copies `source` into `buffer`, made anew when it does not fit.
const at::Tensor& copy_in_fp64(const at::Tensor& source, at::Tensor& buffer) {
  if (!buffer.defined() || buffer.sizes() != source.sizes() || buffer.device() != source.device()) {
    buffer = at::empty(source.sizes(), source.options().dtype(at::kDouble).requires_grad(false));
  }
  return buffer.copy_(source.detach());
}

// diag(gain)·kv_a[latent rows], [R, D], fp64.
at::Tensor gained_down_projection(const LatentProjections& layer, at::Tensor& buffer) {
  copy_in_fp64(layer.kv_a.detach().narrow(0, 0, layer.kv_b.size(1)), buffer);
  return buffer.mul_(layer.kv_gain.detach().to(at::kDouble).unsqueeze(1));
}

// x·xᵀ for x [R, K]. Symmetric: only the blocks on and below the diagonal are multiplied, 5/8 of
// the work (ATen has no syrk); more, narrower blocks lose more in the matrix product than they
// save.
at::Tensor gram_of_rows(const at::Tensor& x_RK) {
  const int64_t rows = x_RK.size(0);
  const int64_t block = (rows + 3) / 4;
  at::Tensor gram_RR = at::empty({rows, rows}, x_RK.options());
  for (int64_t first = 0; first < rows; first += block) {
    const int64_t count = std::min(block, rows - first), rest = rows - first;
    const at::Tensor part = x_RK.narrow(0, first, rest).mm(x_RK.narrow(0, first, count).t());
    gram_RR.narrow(0, first, rest).narrow(1, first, count).copy_(part);
    gram_RR.narrow(0, first, count).narrow(1, first, rest).copy_(part.t());
  }
  return gram_RR;
}

// Any L with L·Lᵀ = gram. Cholesky is ten times cheaper; it fails when rounding makes a zero
// eigenvalue negative.
at::Tensor square_root(const at::Tensor& gram_RR) {
  auto [factor, info] = at::linalg_cholesky_ex(gram_RR);
  if (info.item<int>() == 0) return factor;
  auto [eigenvalues, vectors] = at::linalg_eigh(gram_RR);
  return vectors * eigenvalues.clamp_min(0).sqrt();
}

LayerRank measure_layer(const LatentProjections& layer, Workspace& workspace) {
  check_shapes(layer);
  const at::Tensor& up = copy_in_fp64(layer.kv_b, workspace.up);
  const at::Tensor down = gained_down_projection(layer, workspace.down);
  const at::Tensor up_gram_RR = gram_of_rows(up.t()).cpu();
  const at::Tensor down_gram_RR = gram_of_rows(down).cpu();
  return rank_of_grams(up_gram_RR, down_gram_RR);
}

// A layer's factors with the entries of each permuted; the layer's number seeds the permutations.
LayerRank shuffled_null(const LatentProjections& layer, uint64_t number) {
  at::Tensor buffer;
  const at::Tensor down = gained_down_projection(layer, buffer);
  return composed_rank({shuffled_entries(layer.kv_b.cpu(), 2 * number),
                        at::ones({layer.kv_b.size(1)}),
                        shuffled_entries(down.cpu(), 2 * number + 1)});
}

}  // namespace

LayerRank layer_rank(Spectrum spectrum) {
  const EffectiveRank effective = effective_rank(spectrum);
  return {.rank = std::ssize(spectrum), .spectrum = std::move(spectrum), .effective = effective};
}

LayerRank rank_of_grams(const at::Tensor& up_gram_RR, const at::Tensor& down_gram_RR) {
  const SingleThread small_work;
  const at::Tensor root_RR = square_root(down_gram_RR);
  return layer_rank(spectrum_of_gram(root_RR.t().mm(up_gram_RR).mm(root_RR)));
}

LayerRank composed_rank(const LatentProjections& layer) {
  Workspace workspace;
  return measure_layer(layer, workspace);
}

Spectrum composed_spectrum_reference(const LatentProjections& layer) {
  check_shapes(layer);
  at::Tensor down;
  const at::Tensor map =
      layer.kv_b.detach().to(at::kDouble).mm(gained_down_projection(layer, down));
  const at::Tensor values = at::linalg_svdvals(map).cpu();
  Spectrum spectrum(values.const_data_ptr<double>(),
                    values.const_data_ptr<double>() + values.numel());
  spectrum.resize(static_cast<size_t>(layer.kv_b.size(1)), 0.0);  // A·B has rank at most R
  return spectrum;
}

std::vector<LayerRank> RankTracker::measure(const std::vector<LatentProjections>& layers) const {
  std::vector<LayerRank> ranks;
  ranks.reserve(layers.size());
  Workspace workspace;
  for (const LatentProjections& layer : layers) ranks.push_back(measure_layer(layer, workspace));
  return ranks;
}

const LayerRank& RankTracker::null_baseline(const LatentProjections& layer) {
  check_shapes(layer);
  const int64_t rows = layer.kv_b.size(0), rank = layer.kv_b.size(1), width = layer.kv_a.size(1);
  const auto [place, is_new] = nulls_.try_emplace({rows, rank, width});
  if (is_new) {
    const kernels::DrawKey up{null_seed_, 0, kernels::Purpose::kNull, 0, 0};
    const kernels::DrawKey down{null_seed_, 0, kernels::Purpose::kNull, 0, 1};
    place->second = composed_rank({kernels::normal(up, {rows, rank}),
                                   at::ones({rank}),
                                   kernels::normal(down, {rank, width})});
  }
  return place->second;
}

const LayerRank& RankTracker::truncated_null(const LatentProjections& layer) {
  check_shapes(layer);
  const int64_t rows = layer.kv_b.size(0), rank = layer.kv_b.size(1), width = layer.kv_a.size(1);
  const auto [place, is_new] = truncated_.try_emplace({rows, rank, width});
  if (is_new) {
    Spectrum spectrum = gaussian_spectrum(rows, width, null_seed_);
    spectrum.resize(static_cast<size_t>(rank), 0.0);
    place->second = layer_rank(std::move(spectrum));
  }
  return place->second;
}

RankNulls RankTracker::nulls(const std::vector<LatentProjections>& layers, int64_t step) {
  RankNulls nulls{.shuffled_step = step};
  for (const LatentProjections& layer : layers) {
    nulls.product.push_back(null_baseline(layer));
    nulls.truncated.push_back(truncated_null(layer));
    nulls.shuffled.push_back(shuffled_null(layer, nulls.shuffled.size()));
    nulls.isotropic_overlap.push_back(static_cast<double>(layer.kv_b.size(1)) /
                                      static_cast<double>(layer.kv_a.size(1)));
  }
  return nulls;
}

}  // namespace vmla::analysis
