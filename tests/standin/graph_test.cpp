// Graphs of the stand-in do what a CUDA graph does, and refuse what its capture refuses.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda/kernel_table.h"
#include "tests/standin/standin_fixture.h"

namespace vmla::standin {
namespace {

using kernels::cuda::Graph;
using testing::HasSubstr;

std::unique_ptr<Graph> record(const std::function<void()>& work, const Graph* before = nullptr) {
  return module().record(work, 0, before);
}

bool equal(const at::Tensor& device, double value) {
  return device.cpu().eq(value).all().item<bool>();
}

class StandinGraph : public Standin {
 protected:
  void SetUp() override {
    Standin::SetUp();
    in_ = at::ones({6}, kGpu);
    out_ = at::zeros({6}, kGpu);
  }

  at::Tensor in_, out_;
};

TEST_F(StandinGraph, NothingIsDoneUntilItIsReplayed) {
  at::Tensor product;
  const auto graph = record([&] {
    product = in_ * 2;
    out_.copy_(product + 1);
    in_.add_(1);
  });
  EXPECT_TRUE(equal(in_, 1) && equal(out_, 0));
  EXPECT_TRUE(product.isnan().all().item<bool>());
  graph->replay();
  EXPECT_TRUE(equal(product, 2) && equal(out_, 3) && equal(in_, 2));
  in_.fill_(10);
  graph->replay();
  EXPECT_TRUE(equal(product, 20) && equal(out_, 21) && equal(in_, 11));
}

TEST_F(StandinGraph, KernelsOfTheModuleAndAttentionAreRepeated) {
  const at::Tensor heads = at::ones({1, 2, 3, 16}, kGpu);
  at::Tensor attended;
  const auto graph = record([&] {
    module().gelu_tanh({.element = kernels::Element::kFloat,
                        .x = in_.data_ptr(),
                        .y = out_.data_ptr(),
                        .count = 6},
                       0);
    attended = std::get<0>(at::_scaled_dot_product_efficient_attention(
        heads, heads, heads * 2, std::nullopt, true, 0.0, false, 1.0));
  });
  heads.fill_(3);
  graph->replay();
  EXPECT_NEAR(out_[0].item<float>(), 0.8412F, 1e-4);
  EXPECT_TRUE(equal(attended, 6));
}

TEST_F(StandinGraph, MemoryThatIsFreedAfterwardsIsMissed) {
  at::Tensor passing = in_.clone(), kept = in_.clone();
  const auto graph = record([&] { out_.copy_(passing + kept); });
  kept.fill_(2);
  graph->replay();  // what was allocated and freed while recording is the graph's
  EXPECT_TRUE(equal(out_, 3));
  passing.reset();
  EXPECT_THAT(refusal([&] { graph->replay(); }), HasSubstr("memory that was freed"));
}

TEST_F(StandinGraph, TheSecondSharesTheFirstOnesMemory) {
  at::Tensor handed_on, result;
  const auto first = record([&] { handed_on = (in_ + 1) * 2; });
  const auto second = record([&] { result = (handed_on + 1) * 2; }, first.get());
  first->replay();
  second->replay();
  EXPECT_TRUE(equal(result, 10));
}

TEST_F(StandinGraph, WhatACaptureForbids) {
  const at::Tensor host = pinned();
  const auto refused = [&](const std::function<void()>& work) {
    return refusal([&] {
      record([&] {
        out_.fill_(7);
        work();
      });
    });
  };
  const char* const said = "not permitted when stream is capturing";
  EXPECT_THAT(refused([&] { in_.sum().item<float>(); }), HasSubstr(said));
  EXPECT_THAT(refused([&] { (void)in_.cpu(); }), HasSubstr(said));
  EXPECT_THAT(refused([&] { (void)host.to(kGpu, true); }), HasSubstr(said));
  EXPECT_THAT(refused([&] { (void)in_.nonzero(); }), HasSubstr(said));
  EXPECT_THAT(refused([&] { guard().getStream(kGpu).synchronize(); }), HasSubstr(said));
  EXPECT_TRUE(equal(out_, 0)) << "a recording that fails leaves memory as it was";
  EXPECT_EQ(refused([&] {}), "");
}

TEST_F(StandinGraph, ReplaysAreOrderedAmongStreams) {
  const auto graph = record([&] { out_.copy_(in_ * 2); });
  guard().getStream(kGpu).synchronize();
  graph->replay();
  const c10::StreamGuard on_side(side());
  EXPECT_THAT(refusal([&] { out_ + 1; }), HasSubstr("nothing makes it wait"));
}

}  // namespace
}  // namespace vmla::standin
