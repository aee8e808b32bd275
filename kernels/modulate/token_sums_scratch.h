#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::kernels {

/// Room for the sums over tokens that a GPU's kernel forms in two steps: `sums` of them for each
/// channel of each frame, [sums, frames, token_chunks(S), D], fp32. Undefined on the CPU, whose
/// loops need none. x: [frames, S, D].
at::Tensor token_sums_scratch(int64_t sums, const at::Tensor& x_frames);

/// Its memory; null where it is undefined.
float* scratch_data(const at::Tensor& scratch);

}  // namespace vmla::kernels
