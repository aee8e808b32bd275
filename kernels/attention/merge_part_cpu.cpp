#include "kernels/attention/merge_part_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu_clones.h"

namespace vmla::kernels {
namespace {

template <class T>
VMLA_INLINE void merge_rows(const MergePartParams& p) {
  for (int64_t b = 0; b < p.B; ++b) {
    for (int64_t l = 0; l < p.L; ++l) {
      for (int64_t n = 0; n < p.N; ++n) {
        T* lse = static_cast<T*>(p.lse) + b * p.lse_batch_stride + n * p.lse_head_stride + l;
        const T other = static_cast<const T*>(
            p.part_lse)[b * p.part_lse_batch_stride + n * p.part_lse_head_stride + l];
        // The larger one taken out, so that nothing overflows.
        const T total = std::max(*lse, other) + std::log1p(std::exp(-std::abs(*lse - other)));
        const T kept = std::exp(*lse - total), added = std::exp(other - total);
        *lse = total;
        T* out = static_cast<T*>(p.out) + b * p.out_batch_stride + l * p.out_token_stride + n * p.V;
        const T* part = static_cast<const T*>(p.part) + b * p.part_batch_stride +
                        l * p.part_token_stride + n * p.part_head_stride;
        VMLA_INDEPENDENT
        for (int64_t d = 0; d < p.V; ++d) out[d] = kept * out[d] + added * part[d];
      }
    }
  }
}

}  // namespace

VMLA_CLONES void merge_part_cpu(const MergePartParams& params) {
  if (params.element == Element::kDouble) return merge_rows<double>(params);
  merge_rows<float>(params);
}

}  // namespace vmla::kernels
