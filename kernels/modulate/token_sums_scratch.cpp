#include "kernels/modulate/token_sums_scratch.h"

#include <ATen/ATen.h>

#include "kernels/fused_dispatch.h"
#include "kernels/token_chunks.h"

namespace vmla::kernels {

at::Tensor token_sums_scratch(int64_t sums, const at::Tensor& x_frames) {
  if (kernels_for(x_frames) == nullptr) return {};
  return at::empty({sums, x_frames.size(0), token_chunks(x_frames.size(1)), x_frames.size(2)},
                   x_frames.options().dtype(at::kFloat));
}

float* scratch_data(const at::Tensor& scratch) {
  return scratch.defined() ? scratch.mutable_data_ptr<float>() : nullptr;
}

}  // namespace vmla::kernels
