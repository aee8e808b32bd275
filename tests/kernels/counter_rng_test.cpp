#include "kernels/counter_rng/counter_rng.h"

#include <ATen/ATen.h>
#include <ATen/core/PhiloxRNGEngine.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "kernels/counter_rng/pack_key.h"
#include "tests/support/tensor_match.h"

namespace vmla::kernels {
namespace {

using tests::same_bits;

const DrawKey kKey{.seed = 42, .step = 7, .purpose = Purpose::kNoise, .role = 3, .sample = 5};

TEST(Philox, GivesTheKnownAnswers) {
  // Random123's known-answer vectors for philox4x32, 10 rounds.
  uint32_t zeros[4] = {0, 0, 0, 0};
  philox4x32_10(zeros, 0, 0);
  EXPECT_THAT(zeros, testing::ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  uint32_t ones[4] = {~0u, ~0u, ~0u, ~0u};
  philox4x32_10(ones, ~0u, ~0u);
  EXPECT_THAT(ones, testing::ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  uint32_t pi[4] = {0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u};
  philox4x32_10(pi, 0xa4093822u, 0x299f31d0u);
  EXPECT_THAT(pi, testing::ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(Philox, AgreesWithTheLibrary) {
  // The library's counter is (offset low, offset high, subsequence low, subsequence high).
  const uint64_t seed = 0x0123456789abcdefull;
  const uint64_t subsequence = 0xfedcba9876543210ull;
  at::Philox4_32 library(seed, subsequence, 77);
  uint32_t words[4] = {
      77, 0, static_cast<uint32_t>(subsequence), static_cast<uint32_t>(subsequence >> 32)};
  philox4x32_10(words, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  for (const uint32_t word : words) EXPECT_EQ(library(), word);
}

TEST(CounterRng, KeepsItsNumbersForEver) {
  // Golden values, from a second implementation of the packing in another language: a change here
  // breaks every resumed run and every comparison with older ones.
  EXPECT_EQ(hash_role(""), 2166136261u);
  EXPECT_EQ(hash_role("generator"), 0x6eec35c2u);
  const PhiloxWords words = philox_block(kKey, 11);
  EXPECT_THAT(words.w, testing::ElementsAre(0x5a65283du, 0x33e30af0u, 0xba91e292u, 0x41e700cfu));
  EXPECT_DOUBLE_EQ(uniform_at(kKey, 3), 0.060269214937425986);
  const at::Tensor z = normal(kKey, {5});
  const float expected[] = {-0.900401984f, 0.264650298f, -0.466206423f, -1.17761506f, 0.151395391f};
  for (int i = 0; i < 5; ++i) EXPECT_FLOAT_EQ(z[i].item<float>(), expected[i]) << i;
}

TEST(CounterRng, SeparatesEveryPartOfTheAddress) {
  std::vector<DrawKey> keys(13, kKey);
  keys[1].seed += 1;
  keys[2].seed += uint64_t{1} << 32;
  keys[3].step += 1;
  keys[4].step += uint64_t{1} << 32;
  keys[5].step += uint64_t{1} << 63;
  keys[6].purpose = Purpose::kTimestep;
  keys[7].role += 1;
  keys[8].sample += 1;
  keys[9].sample += uint64_t{1} << 32;
  std::swap(keys[10].step, keys[10].sample);
  keys[11].step = kKey.step << 32;
  keys[12].sample = kKey.step << 32;
  std::set<uint32_t> first_words;
  for (const DrawKey& key : keys) {
    first_words.insert(philox_block(key, 0).w[0]);
    first_words.insert(philox_block(key, 1).w[0]);
    first_words.insert(philox_block(key, uint64_t{1} << 32).w[0]);
  }
  EXPECT_EQ(first_words.size(), 3 * keys.size());
}

TEST(CounterRng, NormalsAreBoxMullerOfTheWords) {
  const at::Tensor z = normal(kKey, {2001});
  const float* data = z.const_data_ptr<float>();
  for (int64_t i = 0; i < z.numel(); ++i) {
    const PhiloxWords words = philox_block(kKey, static_cast<uint64_t>(i / 4));
    const auto u = [&](int64_t w) {
      return static_cast<double>((static_cast<float>(words.w[w] >> 8) + 0.5f) * 0x1p-24f);
    };
    const int64_t pair = i % 4 / 2 * 2;
    const double r = std::sqrt(-2 * std::log(u(pair)));
    const double angle = 2 * M_PI * u(pair + 1);
    const double exact = i % 2 == 0 ? r * std::cos(angle) : r * std::sin(angle);
    ASSERT_NEAR(data[i], exact, 3e-7 * std::max(1.0, std::abs(exact))) << i;
  }
}

TEST(CounterRng, AnElementDoesNotDependOnTheSize) {
  const at::Tensor long_draw = normal(kKey, {3000});
  const at::Tensor long_uniform = uniform(kKey, {3000});
  for (const int64_t n : {1, 3, 4, 15, 17, 255, 256, 257, 1000}) {
    EXPECT_TRUE(same_bits(normal(kKey, {n}), long_draw.narrow(0, 0, n))) << n;
    EXPECT_TRUE(same_bits(uniform(kKey, {n}), long_uniform.narrow(0, 0, n))) << n;
  }
  EXPECT_EQ(normal(kKey, {2, 0, 3}).sizes(), (at::IntArrayRef{2, 0, 3}));
}

TEST(CounterRng, BatchesAreTheSamplesOneByOne) {
  const at::Tensor batch = normal_batch(kKey, 9, 3, {5, 7});
  ASSERT_EQ(batch.sizes(), (at::IntArrayRef{3, 5, 7}));
  for (int64_t b = 0; b < 3; ++b) {
    DrawKey key = kKey;
    key.sample = 9 + static_cast<uint64_t>(b);
    EXPECT_TRUE(same_bits(batch[b], normal(key, {5, 7}))) << b;
  }
  EXPECT_EQ(normal_batch(kKey, 0, 0, {5}).sizes(), (at::IntArrayRef{0, 5}));
}

TEST(CounterRng, HasTheMomentsOfItsDistributions) {
  // n draws: the mean's deviation is 1/sqrt(n), the variance's sqrt(2/n), the fourth moment's
  // sqrt(96/n); four deviations are allowed, and the draws are fixed.
  const int64_t n = 1 << 20;
  const double root = std::sqrt(static_cast<double>(n));
  const at::Tensor z = normal(kKey, {n}).to(at::kDouble);
  EXPECT_NEAR(z.mean().item<double>(), 0, 4 / root);
  EXPECT_NEAR(z.square().mean().item<double>(), 1, 4 * std::sqrt(2.0) / root);
  EXPECT_NEAR(z.pow(4).mean().item<double>(), 3, 4 * std::sqrt(96.0) / root);
  // Neighbours share words; their product has mean 0 and variance 1.
  EXPECT_NEAR((z.narrow(0, 0, n - 1) * z.narrow(0, 1, n - 1)).mean().item<double>(), 0, 4 / root);
  const at::Tensor u = uniform(kKey, {n}).to(at::kDouble);
  EXPECT_GE(u.min().item<double>(), 0);
  EXPECT_LT(u.max().item<double>(), 1);
  EXPECT_NEAR(u.mean().item<double>(), 0.5, 4 / std::sqrt(12.0) / root);
}

TEST(CounterRng, IndicesCoverTheirRangeEvenly) {
  std::vector<int64_t> counts(7, 0);
  for (uint64_t i = 0; i < 7000; ++i) {
    const int64_t index = uniform_index(kKey, 7, i);
    ASSERT_GE(index, 0);
    ASSERT_LT(index, 7);
    ++counts[static_cast<size_t>(index)];
  }
  // Binomial with p = 1/7: deviation sqrt(7000 * 6/49) = 29.
  for (const int64_t count : counts) EXPECT_NEAR(static_cast<double>(count), 1000, 4 * 29);
  EXPECT_EQ(uniform_index(kKey, 1), 0);
  EXPECT_THROW(uniform_index(kKey, 0), c10::Error);
}

}  // namespace
}  // namespace vmla::kernels
