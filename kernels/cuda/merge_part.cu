// lse' = log(e^lse + e^l), out' = e^(lse - lse') out + e^(l - lse') o: attention to some keys
// joined with attention to others, in place. fp32 throughout; the part may be bf16. A warp takes a
// head.
#include "kernels/cuda/rows.cuh"

namespace vmla::kernels::cuda {
namespace {

template <int N, class T>
__global__ void __launch_bounds__(kThreads) merge_heads(MergePartParams p) {
  for (int64_t row = first_row(); row < p.B * p.L * p.N; row += row_step()) {
    const int64_t n = row % p.N;
    const int64_t l = row / p.N % p.L;
    const int64_t b = row / p.N / p.L;
    float* lse = static_cast<float*>(p.lse) + b * p.lse_batch_stride + n * p.lse_head_stride + l;
    const float before = *lse;
    const float other = static_cast<const float*>(
        p.part_lse)[b * p.part_lse_batch_stride + n * p.part_lse_head_stride + l];
    // The larger one taken out, so that nothing overflows.
    const float total = fmaxf(before, other) + log1pf(expf(-fabsf(before - other)));
    const float kept = expf(before - total);
    const float added = expf(other - total);
    __syncwarp();  // all lanes have read the sum that one of them overwrites
    if (lane_index() == 0) *lse = total;
    float* out =
        static_cast<float*>(p.out) + b * p.out_batch_stride + l * p.out_token_stride + n * p.V;
    const T* part = static_cast<const T*>(p.part) + b * p.part_batch_stride +
                    l * p.part_token_stride + n * p.part_head_stride;
    float v[N], w[N];
    for (int64_t d = lane_index() * N; d < p.V; d += kWarpSize * N) {
      read_pack(out, d, v);
      read_pack(part, d, w);
      for (int k = 0; k < N; ++k) v[k] = kept * v[k] + added * w[k];
      write_pack(out, d, v);
    }
  }
}

}  // namespace

Status launch_merge_part(const MergePartParams& p, Stream stream) {
  const bool packs = takes_packs(p.V,
                                 {{p.out, p.out_token_stride, p.out_batch_stride},
                                  {p.part, p.part_token_stride, p.part_batch_stride},
                                  {p.part, p.part_head_stride}});
  return with_element(p.element, [&](auto element) -> Status {
    using T = typename decltype(element)::type;
    return with_packs(packs, [&](auto count) -> Status {
      const auto kernel = merge_heads<decltype(count)::value, T>;
      return launch(kernel, row_blocks(p.B * p.L * p.N), kThreads, stream, p);
    });
  });
}

}  // namespace vmla::kernels::cuda
