// Shows that the stand-in bites: what must fail on it does, and what is right passes.
#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/sdpa_cases.h"
#include "tests/standin/standin_fixture.h"

namespace vmla::standin {
namespace {

using testing::HasSubstr;

TEST_F(Standin, ComputesAsTheCpu) {
  const at::Tensor x = numbers();
  EXPECT_EQ(x.matmul(at::ones({4, 4}).to(kGpu)).sum().item<float>(), 264.0F);
  EXPECT_EQ((x + at::scalar_tensor(1.0)).sum().item<float>(), 78.0F);
  const at::Tensor y = x.clone().requires_grad_(true);
  (y * y).sum().backward();
  ASSERT_TRUE(y.grad().is_cuda());
  EXPECT_TRUE(y.grad().cpu().equal(2 * x.cpu()));
}

TEST_F(Standin, RefusesTensorsOfTheHost) {
  const at::Tensor x = numbers(), host = at::ones({3, 4}), rows = at::zeros({2}, at::kLong);
  const char* const said = "xpected all tensors";
  EXPECT_THAT(refusal([&] { x + host; }), HasSubstr(said));
  EXPECT_THAT(refusal([&] { x.matmul(at::ones({4, 4})); }), HasSubstr(said));
  EXPECT_THAT(refusal([&] { at::cat({x, host}); }), HasSubstr(said));
  EXPECT_THAT(refusal([&] { at::ones({3, 4}).add_(x); }), HasSubstr(said));
  EXPECT_THAT(refusal([&] { at::scalar_tensor(1.0).add_(x.sum()); }), HasSubstr(said));
  EXPECT_THAT(refusal([&] { x.index_select(0, rows); }), HasSubstr(said));
}

TEST_F(Standin, RefusesTensorsOfAnotherDevice) {
  const at::Tensor other = at::ones({3, 4}, at::Device(at::kCUDA, 1));
  EXPECT_THAT(refusal([&] { numbers() + other; }), HasSubstr("cuda:1"));
  EXPECT_EQ(refusal([&] { numbers() + other.to(kGpu); }), "");
}

TEST_F(Standin, NamesWhoTouchesItsMemory) {
  GTEST_FLAG_SET(death_test_style, "fast");
  const at::Tensor x = numbers();
  EXPECT_EXIT(std::printf("%f", *x.const_data_ptr<float>()),
              testing::ExitedWithCode(139),
              "the host touched memory of the device");
  EXPECT_EXIT(at::from_blob(x.data_ptr(), {12}).sum().item<float>(),
              testing::ExitedWithCode(139),
              "the host touched memory of the device");
}

TEST_F(Standin, RefusesAddressesThatAreNotTheKernels) {
  const at::Tensor x = numbers().flatten(), y = at::empty({12}, at::Device(kGpu));
  const at::Tensor host = at::ones({12});
  const auto gelu = [&](const void* from, int64_t count) {
    module().gelu_tanh(
        {.element = kernels::Element::kFloat, .x = from, .y = y.data_ptr(), .count = count}, 0);
  };
  EXPECT_EQ(refusal([&] { gelu(x.data_ptr(), 12); }), "");
  EXPECT_THAT(refusal([&] { gelu(host.data_ptr(), 12); }), HasSubstr("an address of the host"));
  EXPECT_THAT(refusal([&] { gelu(x.data_ptr(), 13); }), HasSubstr("of a block of 48"));
  const void* gone = at::zeros({1000}, at::Device(kGpu)).data_ptr();
  EXPECT_THAT(refusal([&] { gelu(gone, 12); }), HasSubstr("memory that was freed"));
}

TEST_F(Standin, NewMemoryIsNan) {
  EXPECT_TRUE(at::empty({4}, at::Device(kGpu)).isnan().all().item<bool>());
}

TEST_F(Standin, StreamsThatDoNotWait) {
  const at::Tensor x = numbers();
  const at::Tensor y = x * 2;
  {
    const c10::StreamGuard on_side(side());
    EXPECT_THAT(refusal([&] { y + 1; }), HasSubstr("nothing makes it wait"));
  }
  guard().getStream(kGpu).synchronize();
  {
    const c10::StreamGuard on_side(side());
    EXPECT_EQ(refusal([&] { y + 1; }), "");
  }
  EXPECT_THAT(refusal([&] { y.zero_(); }), HasSubstr("overwrites what"));
}

TEST_F(Standin, StreamsThatWaitForAnEvent) {
  const at::Tensor y = numbers() * 2;
  const c10::Stream other = side();
  c10::Event event(at::kCUDA);
  event.record(guard().getStream(kGpu));
  event.block(other);
  const c10::StreamGuard on_side(other);
  EXPECT_EQ(refusal([&] { y + 1; }), "");
}

TEST_F(Standin, MemoryFreedWhileAnotherStreamReads) {
  at::Tensor y = at::zeros({5000}, at::Device(kGpu));
  guard().getStream(kGpu).synchronize();
  {
    const c10::StreamGuard on_side(side());
    y + 1;
  }
  y.reset();  // nobody called record_stream, so the next tensor of this size gets the block
  EXPECT_THAT(refusal([&] { at::zeros({5000}, at::Device(kGpu)); }), HasSubstr("overwrites what"));
}

TEST_F(Standin, PinnedMemoryReadTooEarly) {
  const at::Tensor host = pinned(), x = numbers();
  host.copy_(x.flatten(), /*non_blocking=*/true);
  EXPECT_TRUE(std::isnan(host.const_data_ptr<float>()[3]));
  guard().getStream(kGpu).synchronize();
  EXPECT_EQ(host.const_data_ptr<float>()[3], 3.0F);
}

TEST_F(Standin, PinnedMemoryWrittenTooEarly) {
  const at::Tensor host = pinned().fill_(1.0);
  const auto copy = [&](float later) {
    const at::Tensor x = host.to(kGpu, /*non_blocking=*/true);
    host.fill_(later);
    guard().getStream(kGpu).synchronize();
  };
  EXPECT_EQ(refusal([&] { copy(1.0F); }), "");
  EXPECT_THAT(refusal([&] { copy(2.0F); }), HasSubstr("written while it was copied"));
}

TEST_F(Standin, PinnedMemoryIsLentInTheOrderOfStreams) {
  const at::Tensor host = pinned().fill_(1.0);
  const c10::Stream other = side();
  const auto there_and_back = [&](bool waits) {
    const at::Tensor x = host.to(kGpu, /*non_blocking=*/true) + 1;
    c10::Event event(at::kCUDA);
    event.record(guard().getStream(kGpu));
    if (waits) event.block(other);
    const c10::StreamGuard on_side(other);
    host.copy_(x, /*non_blocking=*/true);
  };
  EXPECT_EQ(refusal([&] { there_and_back(true); }), "");
  // Back on the default stream nothing has waited for the other one.
  EXPECT_THAT(refusal([&] { host.to(kGpu, /*non_blocking=*/true); }), HasSubstr("copies into"));
  other.synchronize();
  EXPECT_EQ(host.const_data_ptr<float>()[0], 2.0F);
  EXPECT_THAT(refusal([&] { there_and_back(false); }), HasSubstr("nothing makes it wait"));
}

TEST_F(Standin, PagesAreLockedOnceAndNotInUseWhenTheyAreUnlocked) {
  std::vector<float> numbers(1024, 1.0F);
  const size_t bytes = numbers.size() * sizeof(float);
  EXPECT_EQ(module().lock_pages(numbers.data(), bytes), "");
  EXPECT_NE(module().lock_pages(numbers.data(), bytes), "");
  const at::Tensor host = at::from_blob(numbers.data(), {1024}, at::TensorOptions(at::kFloat));
  EXPECT_TRUE(host.is_pinned());
  EXPECT_EQ((host.to(kGpu, /*non_blocking=*/true) + 1).sum().item<float>(), 2048.0F);
  module().unlock_pages(numbers.data());
  EXPECT_FALSE(host.is_pinned());
}

/// [1, 2, 3, K] as attention gets it.
at::Tensor heads(int64_t K, at::ScalarType dtype) {
  return at::ones({1, 3, 2, K}, at::TensorOptions(kGpu).dtype(dtype)).transpose(1, 2);
}

void efficient(const at::Tensor& q) {
  at::_scaled_dot_product_efficient_attention(q, q, q, std::nullopt, true, 0.0, false, 1.0);
}
void cudnn(const at::Tensor& q) {
  at::_scaled_dot_product_cudnn_attention(q, q, q, std::nullopt, true, 0.0, false, false, 1.0);
}
void flash(const at::Tensor& q) {
  at::_scaled_dot_product_flash_attention(q, q, q, 0.0, false, false, 1.0);
}

TEST_F(Standin, AttentionThatCudaRefuses) {
  EXPECT_EQ(refusal([&] { efficient(heads(16, at::kFloat)); }), "");
  EXPECT_EQ(refusal([&] { flash(heads(16, at::kBFloat16)); }), "");
  EXPECT_EQ(refusal([&] { cudnn(heads(128, at::kBFloat16)); }), "");
  EXPECT_THAT(refusal([&] { cudnn(heads(16, at::kFloat)); }), HasSubstr("does not take"));
  EXPECT_THAT(refusal([&] { cudnn(heads(136, at::kBFloat16)); }), HasSubstr("at most 128"));
  EXPECT_THAT(refusal([&] { efficient(heads(16, at::kDouble)); }), HasSubstr("does not take"));
  EXPECT_THAT(refusal([&] { flash(heads(16, at::kFloat)); }), HasSubstr("does not take"));
  EXPECT_THAT(refusal([&] { efficient(heads(12, at::kFloat)); }), HasSubstr("multiple of 8"));
  EXPECT_THAT(refusal([&] { flash(heads(264, at::kBFloat16)); }), HasSubstr("at most 256"));
  EXPECT_THAT(refusal([&] { efficient(heads(16, at::kFloat).transpose(2, 3)); }),
              HasSubstr("dense channels"));
  EXPECT_THAT(refusal([&] { efficient(heads(17, at::kFloat).narrow(-1, 1, 16)); }),
              HasSubstr("misaligned address"));
}

TEST_F(Standin, AttentionOfWhatNoKernelOfCudaTakesAsItIs) {
  EXPECT_EQ(refusal([] { tests::check_sdpa_cases(kGpu); }), "");
}

TEST_F(Standin, LogSumExpWithoutPadding) {
  const at::Tensor q = heads(16, at::kFloat), unused = at::zeros({}, at::kLong);
  const auto [out, lse, seed, offset] =
      at::_scaled_dot_product_efficient_attention(q, q, q, std::nullopt, true, 0.0, false, 1.0);
  const auto backward = [&](const at::Tensor& given) {
    at::_scaled_dot_product_efficient_attention_backward(out,
                                                         q,
                                                         q,
                                                         q,
                                                         at::Tensor(),
                                                         out,
                                                         given,
                                                         unused,
                                                         unused,
                                                         0.0,
                                                         {true, true, true, false},
                                                         false,
                                                         1.0);
  };
  EXPECT_EQ(lse.size(-1), 32);
  EXPECT_EQ(refusal([&] { backward(lse); }), "");
  EXPECT_THAT(refusal([&] { backward(lse.narrow(-1, 0, 3).contiguous()); }),
              HasSubstr("log-sum-exp"));
}

}  // namespace
}  // namespace vmla::standin
