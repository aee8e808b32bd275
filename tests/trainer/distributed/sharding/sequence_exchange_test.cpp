#include "model/network/sequence_exchange.h"
#include "tests/support/tensor_match.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/sharding/sequence_ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

/// The exchanges by themselves: where every number goes, and where its gradient comes from.
namespace vmla::distributed {
namespace {

constexpr int64_t kRanks = 3, kBatch = 2, kFrames = 2, kSlice = 2, kWidth = 5;
constexpr int64_t kTokens = kRanks * kSlice;

/// [B, F, S, X] of different numbers.
at::Tensor numbered(int64_t width = kWidth) {
  return at::arange(kBatch * kFrames * kTokens * width, at::kDouble)
      .view({kBatch, kFrames, kTokens, width});
}

at::Tensor slice_of(const at::Tensor& whole_BFSX, int64_t rank) {
  return whole_BFSX.narrow(2, rank * kSlice, kSlice);
}

void on_sequence(const std::function<void(model::SequenceGroup&)>& work) {
  on_threads(kRanks, [&](Communicator& group) {
    SequenceRanks sequence(group);
    work(sequence);
  });
}

TEST(SequenceExchange, OwnTokensAreTakenAndGradientsComeBackWhole) {
  on_sequence([](model::SequenceGroup& ranks) {
    const at::Tensor whole = numbered().requires_grad_();
    const at::Tensor own = model::take_own_tokens(whole, ranks);
    EXPECT_TRUE(tests::same_bits(own, slice_of(numbered(), ranks.index())));
    own.backward(2 * own.detach());
    EXPECT_TRUE(tests::same_bits(whole.grad(), 2 * numbered()));
  });
}

TEST(SequenceExchange, JoinedTokensGiveBackTheirOwnGradient) {
  on_sequence([](model::SequenceGroup& ranks) {
    const at::Tensor own = slice_of(numbered(), ranks.index()).clone().requires_grad_();
    const at::Tensor whole = model::join_tokens(own, ranks);
    EXPECT_TRUE(tests::same_bits(whole, numbered()));
    whole.backward(3 * numbered());
    EXPECT_TRUE(tests::same_bits(own.grad(), 3 * slice_of(numbered(), ranks.index())));
  });
}

TEST(SequenceExchange, GatheredTokensGiveBackTheSumOfAllRanks) {
  on_sequence([](model::SequenceGroup& ranks) {
    const at::Tensor own =
        slice_of(numbered(), ranks.index()).flatten(1, 2).clone().requires_grad_();
    const at::Tensor whole = model::gather_tokens(own, kFrames, ranks);
    EXPECT_TRUE(tests::same_bits(whole, numbered().flatten(1, 2)));
    whole.backward(static_cast<double>(ranks.index() + 1) * numbered().flatten(1, 2));
    const at::Tensor expected = 6 * slice_of(numbered(), ranks.index()).flatten(1, 2);
    EXPECT_TRUE(tests::same_bits(own.grad(), expected));
  });
}

// In bf16, 256 + 1 is 256: added in that type the sum would stay 256.
TEST(SequenceExchange, GradientsInBf16AreAddedInFp32) {
  on_sequence([](model::SequenceGroup& ranks) {
    const at::Tensor own = at::zeros({1, 1, 1}, at::kBFloat16).requires_grad_();
    const at::Tensor whole = model::gather_tokens(own, 1, ranks);
    EXPECT_EQ(whole.scalar_type(), at::kBFloat16);
    whole.backward(at::full({1, kRanks, 1}, ranks.index() == 0 ? 256.0 : 1.0, at::kBFloat16));
    EXPECT_EQ(own.grad().scalar_type(), at::kBFloat16);
    EXPECT_EQ(own.grad().item<double>(), 258.0);
  });
}

TEST(SequenceExchange, TokensGoToTheirHeadsAndBack) {
  constexpr int64_t kHeads = 6, kOwn = kHeads / kRanks, kWide = 3;
  on_sequence([](model::SequenceGroup& ranks) {
    const at::Tensor all_frames = numbered(kHeads * kWidth),
                     last_frame = numbered(kHeads * kWide).narrow(1, 1, 1);
    const auto tokens = [&](const at::Tensor& x) {  // [B, F s, N, X]
      return slice_of(x, ranks.index()).flatten(1, 2).unflatten(2, {kHeads, -1});
    };
    const auto heads = [&](const at::Tensor& x) {  // [B, F S, N/P, X]
      return x.flatten(1, 2).unflatten(2, {kHeads, -1}).narrow(2, ranks.index() * kOwn, kOwn);
    };
    const at::Tensor a = tokens(all_frames).clone().requires_grad_();
    const at::Tensor b = tokens(last_frame).clone().requires_grad_();
    const auto there = model::tokens_to_heads({a, b}, kSlice, ranks);
    EXPECT_TRUE(tests::same_bits(there[0], heads(all_frames)));
    EXPECT_TRUE(tests::same_bits(there[1], heads(last_frame)));
    EXPECT_TRUE(tests::same_bits(model::heads_to_tokens(there[0], kSlice, ranks), a));
    const at::Tensor back = model::heads_to_tokens(5 * there[1], kSlice, ranks);
    EXPECT_TRUE(tests::same_bits(back, 5 * b));
    // Each exchange undoes the other, so do their gradients.
    back.backward(b.detach());
    EXPECT_TRUE(tests::same_bits(b.grad(), 5 * b.detach()));
    there[0].backward(7 * there[0].detach());
    EXPECT_TRUE(tests::same_bits(a.grad(), 7 * a.detach()));
  });
}

/// A group of two that hands back tensors of a wrong shape, or of another type.
class BrokenGroup final : public model::SequenceGroup {
 public:
  explicit BrokenGroup(at::Tensor answer) : answer_(std::move(answer)) {}
  int64_t size() const override { return 2; }
  int64_t index() const override { return 0; }
  at::Tensor all_gather(const at::Tensor&) override { return answer_; }
  at::Tensor reduce_scatter(const at::Tensor&) override { return answer_; }
  at::Tensor all_to_all(const at::Tensor&) override { return answer_; }

 private:
  at::Tensor answer_;
};

TEST(SequenceExchange, WhatAGroupHandsBackIsChecked) {
  const at::Tensor own = at::zeros({1, 1, 1, 2}, at::kDouble);
  for (const at::Tensor& wrong :
       {at::zeros({1, 1, 1, 2}, at::kDouble), at::zeros({2, 1, 1, 1, 2}, at::kFloat)}) {
    BrokenGroup broken(wrong);
    EXPECT_THROW(model::join_tokens(own, broken), c10::Error);
    EXPECT_THROW(model::gather_tokens(own.squeeze(1), 1, broken), c10::Error);
    EXPECT_THROW(model::heads_to_tokens(at::zeros({1, 2, 1, 2}, at::kDouble), 1, broken),
                 c10::Error);
  }
}

}  // namespace
}  // namespace vmla::distributed
