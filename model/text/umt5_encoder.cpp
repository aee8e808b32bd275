#include "model/text/umt5_encoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace vmla::model {
namespace {

/// RMS norm with a gain, without mean or bias: [R, D], in the input's type.
at::Tensor rms_norm(const at::Tensor& x_RD, const at::Tensor& gain, double eps) {
  const at::Tensor scale = x_RD.square().mean(-1, true).add_(eps).rsqrt_();
  return x_RD * scale * gain.to(x_RD.scalar_type());
}

/// The bucket of each difference key − query of positions below `length`, [L, L] of int64: half of
/// the buckets for each sign, of them half for single distances and half for logarithmically
/// growing ranges. Computed in fp32 with the operations of the reference, so that distances on a
/// border fall to the same side.
at::Tensor relative_buckets(const Umt5Config& config, int64_t length) {
  const int64_t half = config.buckets / 2, exact = half / 2;
  const at::Tensor positions = at::arange(length, at::kLong);
  const at::Tensor delta = positions.unsqueeze(0) - positions.unsqueeze(1);
  const at::Tensor distance = delta.abs();
  const double range =
      std::log(static_cast<double>(config.max_distance) / static_cast<double>(exact));
  const at::Tensor ranged = (at::log(distance.to(at::kFloat) / static_cast<double>(exact)) / range *
                             static_cast<double>(half - exact))
                                .clamp_min(0)  // log 0, of distances that are exact anyway
                                .to(at::kLong)
                                .add_(exact)
                                .clamp_max_(half - 1);
  return at::where(delta > 0, half, 0) + at::where(distance < exact, distance, ranged);
}

/// Where a prompt's rows lie among those of all.
struct Rows {
  int64_t first, count;
};

class Forward {
 public:
  Forward(const Umt5Weights& weights, std::vector<Rows> rows, c10::ScalarType matrices)
      : config_(weights.config),
        rows_(std::move(rows)),
        matrices_(matrices),
        wide_(matrices == at::kDouble ? at::kDouble : at::kFloat) {
    int64_t longest = 0;
    for (const Rows& r : rows_) longest = std::max(longest, r.count);
    buckets_LL_ = relative_buckets(config_, longest).to(weights.norm.device());
  }

  /// The type of norms, softmax and what layers pass on.
  c10::ScalarType wide() const { return wide_; }

  at::Tensor block(const Umt5BlockWeights& w, at::Tensor x_RD) const {
    const at::Tensor attended = attention(w, rms_norm(x_RD, w.norm1, config_.eps).to(matrices_));
    x_RD = x_RD + linear(attended, w.o_weight).to(wide_);
    const at::Tensor h_RD = rms_norm(x_RD, w.norm2, config_.eps).to(matrices_);
    const at::Tensor gate = at::gelu(linear(h_RD, w.gate_weight), "tanh");
    return x_RD + linear(linear(h_RD, w.in_weight) * gate, w.out_weight).to(wide_);
  }

 private:
  /// The weight is converted for this one product where its type is another: no second copy of all.
  at::Tensor linear(const at::Tensor& x, const at::Tensor& weight) const {
    return at::linear(x, weight.to(matrices_));
  }

  /// Of each prompt on itself, all heads: [R, D] to [R, A].
  at::Tensor attention(const Umt5BlockWeights& w, const at::Tensor& h_RD) const {
    const auto heads = [&](const at::Tensor& weight) {
      return linear(h_RD, weight).view({h_RD.size(0), config_.num_heads, -1}).transpose(0, 1);
    };
    const at::Tensor q_NRH = heads(w.q_weight), k_NRH = heads(w.k_weight),
                     v_NRH = heads(w.v_weight);
    const at::Tensor table_NB = w.position_table.to(wide_).t();
    std::vector<at::Tensor> out;
    for (const Rows& r : rows_) {
      const auto of = [&](const at::Tensor& x) { return x.narrow(1, r.first, r.count); };
      const at::Tensor buckets =
          buckets_LL_.narrow(0, 0, r.count).narrow(1, 0, r.count).reshape({-1});
      const at::Tensor bias =
          table_NB.index_select(1, buckets).view({config_.num_heads, r.count, r.count});
      // T5 does not scale its queries.
      const at::Tensor scores = at::bmm(of(q_NRH), of(k_NRH).transpose(1, 2)).to(wide_) + bias;
      const at::Tensor weights = at::softmax(scores, -1).to(matrices_);
      out.push_back(at::bmm(weights, of(v_NRH)).transpose(0, 1).reshape({r.count, -1}));
    }
    return at::cat(out);
  }

  Umt5Config config_;
  std::vector<Rows> rows_;
  c10::ScalarType matrices_, wide_;
  at::Tensor buckets_LL_;
};

}  // namespace

Umt5Weights umt5_on(Umt5Weights weights, c10::Device device, const Umt5Precision& precision) {
  if (device.is_cpu()) return weights;
  Umt5Weights::fields(
      weights, [&](const std::string& name, at::Tensor& tensor, const std::vector<int64_t>&) {
        const bool matrix = tensor.dim() == 2 && name.find("pos_embedding") == std::string::npos;
        tensor = tensor.to(device, matrix ? precision.matrices : at::kFloat);
      });
  return weights;
}

std::vector<at::Tensor> umt5_encode(const Umt5Weights& weights,
                                    const std::vector<std::vector<int64_t>>& prompts,
                                    const Umt5Precision& precision,
                                    const std::function<void(int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  std::vector<Rows> rows;
  std::vector<int64_t> ids;
  for (const auto& prompt : prompts) {
    rows.push_back({static_cast<int64_t>(ids.size()), static_cast<int64_t>(prompt.size())});
    ids.insert(ids.end(), prompt.begin(), prompt.end());
  }
  if (ids.empty()) return {};
  const Forward forward(weights, rows, precision.matrices);
  const at::Tensor index = at::tensor(ids, at::kLong).to(weights.token_embedding.device());
  at::Tensor x_RD = weights.token_embedding.index_select(0, index).to(forward.wide());
  int64_t done = 0;
  for (const Umt5BlockWeights& block : weights.blocks) {
    x_RD = forward.block(block, x_RD);
    if (progress) progress(++done);
  }
  x_RD = rms_norm(x_RD, weights.norm, weights.config.eps).to(at::kCPU, at::kFloat);
  std::vector<at::Tensor> embeddings;
  for (const Rows& r : rows) embeddings.push_back(x_RD.narrow(0, r.first, r.count).clone());
  return embeddings;
}

}  // namespace vmla::model
