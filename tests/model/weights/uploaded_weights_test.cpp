#include "model/weights/uploaded_weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

/// Counts how often a unit is asked for at home, and whether it was given back.
class CountedHome : public WeightSource {
 public:
  explicit CountedHome(WeightSource& weights) : weights_(weights) {}
  std::vector<at::Tensor> acquire(int64_t unit) override {
    ++asked[unit];
    ++in_use;
    return weights_.acquire(unit);
  }
  void release(int64_t unit) override {
    --in_use;
    weights_.release(unit);
  }
  void add_gradients(int64_t, const std::vector<at::Tensor>&) override {}
  std::map<int64_t, int64_t> asked;
  int64_t in_use = 0;

 private:
  WeightSource& weights_;
};

TEST(UploadedWeights, AreOnTheDeviceWhileInUse) {
  TinyNetwork net(tiny_mla());
  CountedHome home(net.weights);
  // The meta device stands for one with memory of its own.
  UploadedWeights weights(home, at::Device(at::kMeta));
  for (int pass = 0; pass < 2; ++pass) {
    for (const int64_t unit : {kRootUnit, int64_t{0}, int64_t{1}, kRootUnit}) {
      const auto here = weights.acquire(unit);
      const auto there = net.weights.acquire(unit);
      ASSERT_EQ(here.size(), there.size());
      for (size_t i = 0; i < here.size(); ++i) {
        EXPECT_TRUE(here[i].is_meta());
        EXPECT_EQ(here[i].sizes(), there[i].sizes());
      }
      weights.release(unit);
    }
  }
  EXPECT_EQ(home.in_use, 0);
  EXPECT_EQ(home.asked[kRootUnit], 1);  // it stays
  EXPECT_EQ(home.asked[0], 2);
  {
    const HeldWeights held(weights);
    for (int pass = 0; pass < 3; ++pass) {
      weights.prefetch(1);
      weights.acquire(1);
      weights.release(1);
    }
  }
  EXPECT_EQ(home.asked[1], 3);
  weights.acquire(1);
  weights.release(1);
  EXPECT_EQ(home.asked[1], 4);
  weights.forget();
  weights.acquire(kRootUnit);
  EXPECT_EQ(home.asked[kRootUnit], 2);
}

/// Of weights that move only the masters are at home; what is computed with is cast where it is
/// used, tensor by tensor as at home.
TEST(UploadedWeights, CastWhatMoves) {
  const ModelConfig config = tiny_mla();
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    TrainedWeights home(
        config, drawn_weights(config), "drawn", at::kCPU, compute, at::kFloat, false);
    TrainedWeights beside(
        config, drawn_weights(config), "drawn", at::kCPU, compute, at::kFloat, false);
    UploadedWeights weights(home, at::Device(at::kCPU)), sizes(home, at::Device(at::kMeta));
    for (int round = 0; round < 2; ++round) {
      for (const int64_t unit : home.units()) {
        const auto expected = beside.acquire(unit), here = weights.acquire(unit);
        const auto shapes = sizes.acquire(unit);
        ASSERT_EQ(here.size(), expected.size());
        for (size_t i = 0; i < here.size(); ++i) {
          EXPECT_TRUE(bit_equal(here[i], expected[i])) << unit << " " << i;
          EXPECT_EQ(shapes[i].sizes(), expected[i].sizes());
          EXPECT_EQ(shapes[i].scalar_type(), expected[i].scalar_type());
        }
        weights.release(unit), sizes.release(unit);
        EXPECT_FALSE(home.compute_copy(unit).defined());
      }
      for (TrainedWeights* moved : {&home, &beside}) {
        for (const int64_t unit : moved->units()) moved->master(unit).mul_(1.5);
        moved->drop_copies();
      }
      weights.forget();
    }
  }
}

TEST(UploadedWeights, GiveTheSameFlow) {
  TinyNetwork net(tiny_dense());
  UploadedWeights weights(net.weights, at::kCPU);
  const DitInputs inputs = tiny_inputs(net.config, 3);
  const auto plan = prepared(net.config, bidirectional_plan(3));
  const at::Tensor there = dit_forward(net.network(), inputs, plan, {}, {}).flow_BFCHW;
  const at::Tensor here = dit_forward({net.config, weights}, inputs, plan, {}, {}).flow_BFCHW;
  EXPECT_TRUE(bit_equal(here, there));
  EXPECT_THROW(weights.add_gradients(0, {}), c10::Error);
}

}  // namespace
}  // namespace vmla::model
