#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "kernels/adamw/adamw.h"
#include "kernels/gelu/gelu.h"
#include "kernels/kernel_comparison.h"
#include "kernels/modulate/modulate.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/rope_3d/rope_3d.h"
#include "launch/doctor/measure_device.h"
#include "launch/doctor/timing.h"

namespace vmla::launch::doctor {
namespace {

using Tensors = std::vector<at::Tensor>;
using kernels::KernelOperation;

constexpr double kEps = 1e-6;

at::Tensor draw(uint64_t stream, at::IntArrayRef sizes) {
  return kernels::comparison_draw(stream, sizes).to(at::kDouble);
}

/// As a part of the largest expected number.
double difference(const at::Tensor& actual, const at::Tensor& expected) {
  const auto [error, size] = kernels::deviation(actual, expected);
  return error / std::max(size, 1e-30);
}

/// A kernel, its definition, small inputs of odd sizes (fp64, on the CPU), and the sizes at which
/// it is timed with the tensors of those sizes that it reads and writes forward.
struct Case {
  std::string name;
  KernelOperation f, reference;
  Tensors small;
  std::vector<std::vector<int64_t>> large;
  int64_t outputs = 1;  // of the first input's size
};

/// The worst error, gradients in the measure of forward: an error over its tolerance stays over it.
double compare(const Case& test, at::Device device, at::ScalarType dtype) {
  const auto [output, gradient] = kernels::kernel_tolerances(dtype);
  const double scale = output / gradient;
  Tensors rounded, exact;
  for (const at::Tensor& input : test.small) {
    rounded.push_back(input.to(device, dtype));
    exact.push_back(input.to(dtype).to(at::kDouble));
  }
  const Tensors actual = kernels::output_and_gradients(test.f, rounded);
  const Tensors expected = kernels::output_and_gradients(test.reference, exact);
  double worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = difference(actual[i], expected[i]);
    worst = std::fmax(worst, i == 0 ? error : error * scale);
    if (std::isnan(error)) return error;
  }
  return worst;
}

/// Bytes read and written a second, forward, without a graph.
double measured_rate(const Case& test, at::Device device, at::ScalarType dtype) {
  const at::NoGradGuard no_grad;
  Tensors inputs;
  for (const auto& sizes : test.large) {
    inputs.push_back(at::ones(sizes, at::TensorOptions(device).dtype(dtype)));
  }
  size_t bytes = static_cast<size_t>(test.outputs) * inputs[0].nbytes();
  for (const at::Tensor& input : inputs) bytes += input.nbytes();
  return static_cast<double>(bytes) / fastest(device, [&] { test.f(inputs); });
}

/// Sum and norm side by side where they are compared; what is timed is the pass alone. in: x,
/// update, and one row that is gate, shift and scale.
template <class Op>
at::Tensor residual_norm(const Tensors& in, const Op& op) {
  const kernels::ResidualNorm both =
      op({in[0], in[1], in[2], in[2], in[2], kernels::ScaleIs::kChange, kEps, in[0].scalar_type()});
  return at::GradMode::is_enabled() ? at::stack({both.sum_BFSD, both.norm_BFSD}) : both.norm_BFSD;
}

/// 21 latent frames of 480 x 832: 1560 tokens a frame and 1536 channels on a GPU.
std::vector<Case> cases(at::Device device) {
  const int64_t F = device.is_cuda() ? 21 : 3, S = 1560, D = 1536, N = 12, K = 128;
  const kernels::RopePairSet few{{0, 5, 9, 13}, {6, 5, 5}};
  kernels::RopePairSet all{{}, {22, 21, 21}};
  for (int64_t i = 0; i < K / 2; ++i) all.pairs.push_back(i);
  const auto rope = [](const kernels::RopePairSet& pairs,
                       int64_t frames,
                       int64_t rows,
                       int64_t cols,
                       const at::Tensor& like) {
    std::vector<int64_t> times;
    for (int64_t i = 0; i < frames; ++i) times.push_back(i);
    const auto dtype = like.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    return kernels::rope_table(times, rows, cols, pairs, like.options().dtype(dtype));
  };
  const kernels::RopeTable timed =
      rope(all, F, 30, 52, at::empty({0}, at::TensorOptions(device).dtype(at::kFloat)));
  return {
      {"rms_norm",
       [](const Tensors& in) { return kernels::rms_norm(in[0], in[1], kEps); },
       [](const Tensors& in) { return kernels::rms_norm_reference(in[0], in[1], kEps); },
       {draw(1, {3, 40, 257}), draw(2, {257})},
       {{1, F * S, D}, {D}}},
      {"layer_norm_modulate",
       [](const Tensors& in) { return kernels::layer_norm_modulate(in[0], in[1], in[2], kEps); },
       [](const Tensors& in) {
         return kernels::layer_norm_modulate_reference(in[0], in[1], in[2], kEps);
       },
       {draw(3, {2, 3, 35, 65}), draw(4, {2, 3, 65}), draw(5, {2, 3, 65})},
       {{1, F, S, D}, {1, F, D}, {1, F, D}}},
      {"gated_residual",
       [](const Tensors& in) { return kernels::gated_residual(in[0], in[1], in[2]); },
       [](const Tensors& in) { return kernels::gated_residual_reference(in[0], in[1], in[2]); },
       {draw(3, {2, 3, 35, 65}), draw(6, {2, 3, 35, 65}), draw(4, {2, 3, 65})},
       {{1, F, S, D}, {1, F, S, D}, {1, F, D}}},
      {"residual_norm",
       [](const Tensors& in) { return residual_norm(in, kernels::residual_norm); },
       [](const Tensors& in) { return residual_norm(in, kernels::residual_norm_reference); },
       {draw(3, {2, 3, 35, 65}), draw(6, {2, 3, 35, 65}), draw(4, {2, 3, 65})},
       {{1, F, S, D}, {1, F, S, D}, {1, F, D}},
       2},
      {"gelu_tanh",
       [](const Tensors& in) { return kernels::gelu_tanh(in[0]); },
       [](const Tensors& in) { return kernels::gelu_tanh_reference(in[0]); },
       {2.0 * draw(7, {5, 333})},
       {{F * S, D}}},
      {"apply_rope",
       [=](const Tensors& in) {
         const bool small = in[0].size(3) != K;
         return kernels::apply_rope(
             in[0], small ? rope(few, 3, 2, 3, in[0]) : timed, small ? 3 : 0);
       },
       [=](const Tensors& in) {
         return kernels::apply_rope_reference(in[0], rope(few, 3, 2, 3, in[0]), 3);
       },
       {draw(8, {2, 18, 3, 12})},
       {{1, F * S, N, K}}},
  };
}

KernelFacts measure_adamw(at::Device device) {
  constexpr double kBeta1 = 0.9;
  KernelFacts facts{.name = "adamw, fp32",
                    .tolerance = kernels::kernel_tolerances(at::kFloat).output};
  facts.problem = problem_of([&] {
    const at::NoGradGuard no_grad;
    const auto trial = kernels::try_adamw(kernels::adamw_step_, device, at::kFloat, kBeta1);
    const auto expected =
        kernels::try_adamw(kernels::adamw_step_reference_, at::kCPU, at::kDouble, kBeta1);
    facts.error = difference(trial.written, expected.written);
    TORCH_CHECK(trial.is_rounded || !(facts.error <= facts.tolerance),
                "copies in bf16 are not the nearest");
    const int64_t count = device.is_cuda() ? int64_t{1} << 27 : int64_t{1} << 22;
    at::Tensor param = at::ones({count}, at::TensorOptions(device).dtype(at::kFloat));
    at::Tensor first = at::zeros_like(param), second = at::zeros_like(param);
    const at::Tensor grad = at::ones_like(param);
    const at::Tensor scale = at::ones({}, param.options());
    const kernels::AdamwFollowers followers{
        .rounded = at::empty_like(param, at::kBFloat16),
        .average = at::zeros_like(param),
        .average_decay = 0.99,
        .rounded_average = at::empty_like(param, at::kBFloat16)};
    // Five buffers are read and four written, and two copies of half their size.
    facts.rate =
        10.0 * static_cast<double>(param.nbytes()) / fastest(device, [&] {
          kernels::adamw_step_(
              param, grad, first, second, scale, {1e-4, kBeta1, 0.99, 1e-8, 0, 1}, followers);
        });
  });
  return facts;
}

}  // namespace

std::vector<KernelFacts> measure_kernels(at::Device device) {
  // Training with bf16 has both; the fused code of a CPU takes fp32.
  std::vector<at::ScalarType> dtypes = {at::kFloat};
  if (device.is_cuda()) dtypes.push_back(at::kBFloat16);
  std::vector<KernelFacts> all;
  for (const Case& test : cases(device)) {
    for (const at::ScalarType dtype : dtypes) {
      const bool bf16 = dtype == at::kBFloat16;
      KernelFacts facts{.name = test.name + (bf16 ? ", bf16" : ", fp32"),
                        .tolerance = kernels::kernel_tolerances(dtype).output};
      facts.problem = problem_of([&] {
        facts.error = compare(test, device, dtype);
        facts.rate = measured_rate(test, device, dtype);
      });
      all.push_back(facts);
    }
  }
  all.push_back(measure_adamw(device));
  return all;
}

}  // namespace vmla::launch::doctor
