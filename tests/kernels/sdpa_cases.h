#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "kernels/attention/sdpa_backend.h"
#include "tests/kernels/draws.h"

namespace vmla::tests {

/// Attention of what no kernel of CUDA takes as it is: heads wider than flash's, slices that begin
/// at no multiple of 16 bytes, fp64. Forward and gradients on `device` against fp64 on the CPU;
/// throws c10::Error where they differ.
inline void check_sdpa_cases(at::Device device) {
  struct Case {
    int64_t K, V, offset;
    at::ScalarType dtype;
    double tolerance;  // of the largest value: roundings of the result and of what it is made of
  };
  for (const Case& c : {Case{288, 272, 0, at::kBFloat16, 0x1p-6},
                        Case{40, 24, 3, at::kBFloat16, 0x1p-6},
                        Case{288, 40, 1, at::kFloat, 1e-5},
                        Case{40, 24, 3, at::kFloat, 1e-5},
                        Case{24, 16, 0, at::kDouble, 1e-12}}) {
    uint64_t stream = 0;
    // Of values that the dtype holds exactly.
    const auto heads = [&](int64_t rows, int64_t width) {
      return draw(++stream, {1, rows, 2, width}, c.dtype);
    };
    const at::Tensor q = heads(3, c.K), k = heads(5, c.K), v = heads(5, c.V), grad = heads(3, c.V);
    const double scale = 1 / std::sqrt(static_cast<double>(c.K));
    const auto run = [&](const auto& place) {
      const kernels::SdpaOutput f = kernels::sdpa(place(q), place(k), place(v), scale);
      const kernels::SdpaGrads b = kernels::sdpa_backward(
          place(grad), place(q), place(k), place(v), f.out_BLNV, f.lse_BNL, scale);
      return std::vector<at::Tensor>{f.out_BLNV, f.lse_BNL, b.q_BLNK, b.k_BMNK, b.v_BMNV};
    };
    // Slices behind `c.offset` channels of a wider tensor.
    const auto found = run([&](const at::Tensor& x) {
      return at::constant_pad_nd(x, {c.offset, 0}).to(device).narrow(-1, c.offset, x.size(-1));
    });
    const auto wanted = run([](const at::Tensor& x) { return x.to(at::kDouble); });
    for (size_t i = 0; i < found.size(); ++i) {
      const at::Tensor difference = found[i].to(at::kCPU).to(at::kDouble) - wanted[i];
      TORCH_CHECK(difference.abs().max().item<double>() <
                      c.tolerance * wanted[i].abs().max().item<double>(),
                  "result ",
                  i,
                  " of heads ",
                  c.K,
                  " and ",
                  c.V,
                  " in ",
                  c.dtype,
                  " is off by ",
                  difference.abs().max().item<double>());
    }
  }
}

}  // namespace vmla::tests
