#pragma once

#include <cstdint>

namespace vmla::kernels {

/// y[i] = gelu(x[i]) in the tanh approximation, as x * sigmoid(2u) with u = sqrt(2/pi) (x +
/// 0.044715 x^3): the same function, without the cancellation of 1 + tanh(u) on the negative side.
/// fp32 error: at most 6 * 2^-24 of |gelu(x)|, and 2^-24 of the largest values of the tail where
/// gelu itself is below 0.1.
void gelu_tanh_cpu(const float* x, float* y, int64_t count);
void gelu_tanh_cpu(const double* x, double* y, int64_t count);

/// grad_x[i] = grad_y[i] * gelu'(x[i]).
void gelu_tanh_backward_cpu(const float* grad_y, const float* x, float* grad_x, int64_t count);
void gelu_tanh_backward_cpu(const double* grad_y, const double* x, double* grad_x, int64_t count);

}  // namespace vmla::kernels
