#include "trainer/compute_device.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/fused_dispatch.h"
#include "kernels/kernel_choice.h"

namespace vmla::trainer {
namespace {

using kernels::FusedOp;
using kernels::KernelUse;

TEST(KernelsConfig, HasAKeyForAttentionAndForEveryFusedOperation) {
  std::vector<std::string> keys, operations{"attention"};
  const KernelsConfig config;
  KernelsConfig::fields(config, [&](const char* name, auto&&...) { keys.emplace_back(name); });
  for (const FusedOp op : kernels::kFusedOps) operations.emplace_back(kernels::name_of(op));
  EXPECT_THAT(keys, ::testing::UnorderedElementsAreArray(operations));
}

TEST(KernelsConfig, DecidesWhatAnOperationRunsAs) {
  const at::Tensor x = at::ones({3, 5});
  TrainConfig config;
  config.kernels.gelu_tanh = "reference";
  config.kernels.rope = "fused";
  use_kernels(config);
  EXPECT_EQ(kernels::kernel_use(FusedOp::kRope), KernelUse::kFused);
  EXPECT_FALSE(kernels::takes_fused(FusedOp::kGeluTanh, {x}));
  EXPECT_TRUE(kernels::takes_fused(FusedOp::kRmsNorm, {x}));
  use_kernels({});
  EXPECT_EQ(kernels::kernel_use(FusedOp::kRope), KernelUse::kAuto);
  EXPECT_TRUE(kernels::takes_fused(FusedOp::kGeluTanh, {x}));
}

}  // namespace
}  // namespace vmla::trainer
