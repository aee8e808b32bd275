#include "kernels/kernel_comparison.h"

#include <ATen/ATen.h>

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::kernels {

// fp32: some ten roundings of 2^-24 in a forward pass; gradients of rows are sums over hundreds of
// tokens in another order. bf16: the result is rounded to 2^-9 of itself, and gradients are sums of
// products of such.
KernelTolerances kernel_tolerances(at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return {0x1p-8, 0x1p-6};
  return {2e-6, 1e-5};
}

at::Tensor comparison_draw(uint64_t stream, at::IntArrayRef sizes) {
  return normal({.seed = 13, .purpose = Purpose::kSynthetic, .sample = stream}, sizes);
}

std::vector<at::Tensor> output_and_gradients(const KernelOperation& operation,
                                             const std::vector<at::Tensor>& inputs) {
  constexpr uint64_t kCotangent = 90;
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.detach().requires_grad_());
  const at::Tensor out = operation(leaves);
  out.backward(comparison_draw(kCotangent, out.sizes()).to(out.options()));
  std::vector<at::Tensor> results{out};
  for (const at::Tensor& leaf : leaves) results.push_back(leaf.grad());
  return results;
}

Deviation deviation(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor a = actual.detach().to(at::kCPU, at::kDouble);
  const at::Tensor e = expected.detach().to(at::kCPU, at::kDouble);
  return {(a - e).abs().max().item<double>(), e.abs().max().item<double>()};
}

AdamwTrial try_adamw(decltype(&adamw_step_) step,
                     at::Device device,
                     at::ScalarType dtype,
                     double beta1) {
  constexpr int64_t kCount = 1001;
  const auto given = [&](uint64_t stream) {
    return comparison_draw(stream, {kCount}).to(device, dtype);
  };
  at::Tensor param = given(7), first = beta1 == 0 ? at::Tensor() : at::zeros_like(param);
  at::Tensor second = at::zeros_like(param);
  const at::Tensor scale = at::scalar_tensor(0.5, at::kFloat).to(device);
  AdamwFollowers followers{.rounded = at::empty_like(param, at::kBFloat16),
                           .average = given(8),
                           .rounded_average = at::empty_like(param, at::kBFloat16)};
  for (int64_t t = 1; t <= 3; ++t) {
    // The average begins nearer to the parameters and ends nearer to itself; the second step has no
    // followers.
    followers.average_decay = t == 1 ? 0.25 : 0.9;
    step(param,
         given(static_cast<uint64_t>(8 + t)),
         first,
         second,
         scale,
         {1e-2, beta1, 0.99, 1e-8, 0.1, t},
         t == 2 ? AdamwFollowers{} : followers);
  }
  const auto nearest = [](const at::Tensor& copy, const at::Tensor& of) {
    return at::equal(copy, of.to(at::kBFloat16));
  };
  return {.written = at::cat({param, followers.average}),
          .is_rounded = nearest(followers.rounded, param) &&
                        nearest(followers.rounded_average, followers.average)};
}

}  // namespace vmla::kernels
