#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "tests/support/tensor_match.h"

namespace vmla::tests {

using TensorFunction = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/// Autograd's gradients of sum(f(inputs) * cotangent) with respect to every input.
inline std::vector<at::Tensor> autograd_gradients(const TensorFunction& f,
                                                  const std::vector<at::Tensor>& inputs,
                                                  const at::Tensor& cotangent) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().requires_grad_());
  f(leaves).backward(cotangent);
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& leaf : leaves) {
    gradients.push_back(leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf));
  }
  return gradients;
}

/// The same by central differences in fp64: input i moves by +-h, one element after another.
inline at::Tensor numeric_gradient(const TensorFunction& f,
                                   std::vector<at::Tensor> inputs,
                                   size_t i,
                                   const at::Tensor& cotangent,
                                   double h) {
  const at::Tensor base = inputs[i].contiguous();
  at::Tensor gradient = at::zeros_like(base);
  for (int64_t j = 0; j < base.numel(); ++j) {
    const auto loss_at = [&](double shift) {
      at::Tensor moved = base.clone();
      moved.view(-1)[j] += shift;
      inputs[i] = moved;
      return (f(inputs) * cotangent).sum().item<double>();
    };
    gradient.view(-1)[j] = (loss_at(h) - loss_at(-h)) / (2 * h);
  }
  return gradient;
}

/// Whether the gradients of f at fp64 `inputs` are those of central differences. With h = 1e-5 and
/// values around 1 the truncation error is about h^2 = 1e-10 and rounding about 1e-16 * terms / h =
/// 1e-10; the default allows 1e-7 of the largest element, far below what any wrong term would give.
inline testing::AssertionResult gradients_match(const TensorFunction& f,
                                                const std::vector<at::Tensor>& inputs,
                                                double tolerance = 1e-7) {
  at::Tensor cotangent = f(inputs).detach();
  // A fixed, irregular direction: no gradient component cancels by symmetry.
  cotangent = at::cos(at::arange(cotangent.numel(), at::kDouble) * 1.7 + 0.3).view_as(cotangent);
  const std::vector<at::Tensor> gradients = autograd_gradients(f, inputs, cotangent);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const at::Tensor numeric = numeric_gradient(f, inputs, i, cotangent, 1e-5);
    // An input of no influence has a gradient of rounding noise on one side and zero on the other.
    const at::Tensor expected = at::where(numeric.abs() < 1e-9, at::zeros_like(numeric), numeric);
    const at::Tensor actual =
        at::where(gradients[i].abs() < 1e-9, at::zeros_like(numeric), gradients[i]);
    const testing::AssertionResult match = near_max(actual, expected, tolerance);
    if (!match)
      return testing::AssertionFailure() << "gradient of input " << i << ": " << match.message();
  }
  return testing::AssertionSuccess();
}

}  // namespace vmla::tests
