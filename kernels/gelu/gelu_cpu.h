#pragma once

#include "kernels/gelu/gelu_params.h"

namespace vmla::kernels {

/// y[i] = gelu(x[i]) in the tanh approximation, as x * sigmoid(2u) with u = sqrt(2/pi) (x +
/// 0.044715 x^3): the same function, without the cancellation of 1 + tanh(u) on the negative side.
/// fp32 error: at most 6 * 2^-24 of |gelu(x)|, and 2^-24 of the largest values of the tail where
/// gelu itself is below 0.1. Buffers hold fp32 or fp64.
void gelu_tanh_cpu(const GeluParams& params);

/// grad_x[i] = grad_y[i] * gelu'(x[i]).
void gelu_tanh_backward_cpu(const GeluBackwardParams& params);

}  // namespace vmla::kernels
