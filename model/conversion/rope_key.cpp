#include "model/conversion/rope_key.h"

#include <ATen/ATen.h>

#include <cmath>

namespace vmla::model {
namespace {

/// [N P, X] real rows, pairs interleaved → [pairs, N, X] complex.
at::Tensor complex_rows(const at::Tensor& rows, int64_t num_heads) {
  const at::Tensor split = rows.unflatten(0, {num_heads, -1, 2});  // N, pairs, 2, X
  return at::complex(split.select(2, 0).contiguous(), split.select(2, 1).contiguous())
      .transpose(0, 1);
}

/// [pairs, X] complex → [P, X] real, interleaved.
at::Tensor real_rows(const at::Tensor& rows) {
  return at::stack({at::real(rows), at::imag(rows)}, 1).flatten(0, 1);
}

/// u of each pair, [pairs, N], from the moments [pairs, N, N].
at::Tensor head_mix(const at::Tensor& moment, HeadMix mix) {
  const int64_t heads = moment.size(1);
  if (mix == HeadMix::kMean) {
    return at::full(
        {moment.size(0), heads}, 1.0 / std::sqrt(static_cast<double>(heads)), moment.options());
  }
  const at::Tensor seen = mix == HeadMix::kReal ? at::real(moment) : moment;
  const at::Tensor eigenvectors = std::get<1>(at::linalg_eigh(seen));  // values ascending
  const at::Tensor u = eigenvectors.select(2, heads - 1).to(moment.scalar_type());
  // An eigenvector is free up to a phase; fix it, so that a one-head model keeps its key as it is.
  const at::Tensor largest = u.gather(1, u.abs().argmax(1, /*keepdim=*/true));
  return u * (largest.conj() / largest.abs());
}

}  // namespace

SharedRopeKey shared_rope_key(const at::Tensor& rows,
                              const at::Tensor& bias,
                              int64_t num_heads,
                              HeadMix mix,
                              const at::Tensor& inputs) {
  const at::Tensor all =
      complex_rows(at::cat({rows, bias.unsqueeze(1)}, 1), num_heads);  // pairs, N, D + 1
  const at::Tensor seen = inputs.defined() ? all.matmul(inputs.to(all.scalar_type())) : all;
  const at::Tensor moment = seen.matmul(all.conj().transpose(1, 2));
  SharedRopeKey key;
  key.heads = head_mix(moment, mix);
  const at::Tensor row = key.heads.conj().unsqueeze(1);  // pairs, 1, N
  const at::Tensor shared = row.matmul(all).squeeze(1);  // pairs, D + 1
  const at::Tensor real = real_rows(shared);
  key.weight = real.narrow(1, 0, rows.size(1)).contiguous();
  key.bias = real.select(1, rows.size(1)).contiguous();
  const double trace = at::real(moment.diagonal(0, 1, 2)).sum().item<double>();
  const at::Tensor kept = row.matmul(moment).matmul(key.heads.unsqueeze(2));
  key.energy_lost = trace > 0 ? 1.0 - at::real(kept).sum().item<double>() / trace : 0.0;
  return key;
}

at::Tensor turn_query_rows(const at::Tensor& rows, const SharedRopeKey& key, int64_t num_heads) {
  const at::Tensor turned =
      complex_rows(rows, num_heads) * key.heads.conj().unsqueeze(2);  // pairs, N, X
  return at::stack({at::real(turned), at::imag(turned)}, 2)           // pairs, N, 2, X
      .permute({1, 0, 2, 3})
      .flatten(0, 2);
}

}  // namespace vmla::model
