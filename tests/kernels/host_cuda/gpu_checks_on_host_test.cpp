#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "kernels/cuda_module.h"
#include "kernels/gelu/gelu.h"
#include "kernels/kernel_self_check.h"
#include "kernels/rms_norm/rms_norm.h"
#include "tests/gpu/check.h"
#include "tests/kernels/draws.h"
#include "tests/kernels/host_cuda/grid.h"
#include "tests/kernels/host_cuda/host_table.h"
#include "tests/support/tensor_match.h"

// What gpu_tests checks of the kernels on a GPU, here with their sources on the CPU: from tensors
// through dispatch and autograd to the kernels and back.

namespace vmla::tests::host_cuda {
namespace {

using kernels::FusedOp;
using kernels::KernelUse;

/// Tensors of the CPU go to this table while it lives.
class OnHost {
 public:
  explicit OnHost(const kernels::cuda::KernelTable& table) { kernels::use_kernels_on_cpu(&table); }
  ~OnHost() {
    kernels::use_kernels_on_cpu(nullptr);
    for (const FusedOp op : kernels::kFusedOps) {
      kernels::set_kernel_use(op, KernelUse::kAuto);
      kernels::set_switched_off(op, false);
    }
  }
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;
};

TEST(GpuChecksOnHost, PassInEveryOrder) {
  const OnHost on_host(host_table());
  for (const Order order : kOrders) {
    const ScopedGridSettings scope({.order = order, .only = {}});
    for (const gpu::Check& check : gpu::kernel_checks()) {
      if (check.name == "attention") continue;  // the library's kernels
      EXPECT_NO_THROW(check.run(at::kCPU)) << check.name;
    }
  }
  for (const auto& [name, calls] : host_table_calls()) EXPECT_GT(calls, 0) << name;
}

TEST(GpuChecksOnHost, TheTableIsTakenForTheTypesOfAGpuAlone) {
  const OnHost on_host(host_table());
  const auto calls = [] { return host_table_calls().at("gelu_tanh"); };
  const int64_t before = calls();
  kernels::gelu_tanh(draw(1, {7}));
  EXPECT_EQ(calls(), before);
  kernels::gelu_tanh(draw(1, {7}, at::kFloat));
  kernels::gelu_tanh(draw(1, {7}, at::kBFloat16));
  EXPECT_EQ(calls(), before + 2);
}

TEST(KernelSelfCheck, FindsThatEveryKernelAgrees) {
  const OnHost on_host(host_table());
  const auto verdicts = kernels::check_kernels(at::kCPU);
  ASSERT_EQ(verdicts.size(), kernels::kFusedOps.size());
  for (const auto& verdict : verdicts) {
    EXPECT_EQ(verdict.problem, "") << name_of(verdict.op);
    EXPECT_FALSE(kernels::is_switched_off(verdict.op));
  }
}

TEST(KernelSelfCheck, AsksNothingWhereNoKernelRuns) {
  EXPECT_TRUE(kernels::check_kernels(at::kCPU).empty());
  EXPECT_TRUE(kernels::check_kernels(at::kMeta).empty());
}

/// Leaves the second half of what it writes as it was.
void rms_norm_of_half_a_row(const kernels::RmsNormParams& params, int device) {
  kernels::RmsNormParams half = params;
  half.first.D = params.first.D / 2;
  host_table().rms_norm(half, device);
}

TEST(KernelSelfCheck, SwitchesOffAKernelThatIsWrong) {
  kernels::cuda::KernelTable planted = host_table();
  planted.rms_norm = rms_norm_of_half_a_row;
  planted.gelu_tanh_backward = [](const kernels::GeluBackwardParams&, int) {
    TORCH_CHECK(false, "no kernel image is available\nfor this device");
  };
  const OnHost on_host(planted);
  const auto verdicts = kernels::check_kernels(at::kCPU);
  EXPECT_EQ(warning_of(verdicts[3]),
            "kernels: gelu_tanh disagrees with its reference (no kernel image is available); it is "
            "switched off and the reference runs instead");
  for (const auto& [op, problem] : verdicts) {
    const bool wrong = op == FusedOp::kRmsNorm || op == FusedOp::kGeluTanh;
    EXPECT_EQ(kernels::is_switched_off(op), wrong) << name_of(op) << problem;
    if (op == FusedOp::kRmsNorm) {
      EXPECT_EQ(problem.find("its output in fp32 is off by "), 0) << problem;
    }
    if (op == FusedOp::kGeluTanh) {
      EXPECT_EQ(problem, "no kernel image is available");
    }
  }
  // What is switched off runs as the reference, and the training of it too.
  const at::Tensor x = draw(2, {5, 33}, at::kFloat).requires_grad_();
  const at::Tensor weight = draw(3, {33}, at::kFloat);
  const int64_t before = host_table_calls().at("rms_norm");
  const at::Tensor y = kernels::rms_norm(x, weight, 1e-6);
  y.sum().backward();
  EXPECT_TRUE(near_max(
      y.detach(),
      kernels::rms_norm_reference(x.detach().to(at::kDouble), weight.to(at::kDouble), 1e-6),
      2e-6));
  EXPECT_TRUE(x.grad().defined());
  EXPECT_EQ(host_table_calls().at("rms_norm"), before);
  // Asked for by name, it runs in spite of the check.
  kernels::set_kernel_use(FusedOp::kRmsNorm, KernelUse::kFused);
  kernels::rms_norm(x, weight, 1e-6);
  EXPECT_EQ(host_table_calls().at("rms_norm"), before + 1);
}

TEST(KernelSelfCheck, LeavesOutWhatRunsItsReferenceByWish) {
  const OnHost on_host(host_table());
  kernels::set_kernel_use(FusedOp::kGeluTanh, KernelUse::kReference);
  EXPECT_EQ(kernels::check_kernels(at::kCPU).size(), kernels::kFusedOps.size() - 1);
  const int64_t before = host_table_calls().at("gelu_tanh");
  kernels::gelu_tanh(draw(1, {7}, at::kFloat));
  EXPECT_EQ(host_table_calls().at("gelu_tanh"), before);
}

}  // namespace
}  // namespace vmla::tests::host_cuda
