#include "model/weights/local_weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

TEST(FrozenWeights, CastWhatProductsTake) {
  const ModelConfig config = tiny_mla();
  const auto given = drawn_weights(config);
  FrozenWeights weights(config, given, "drawn", at::kCPU, at::kBFloat16);
  for (const int64_t unit : all_units(config)) {
    const auto layout = unit_layout(config, unit);
    const auto tensors = weights.acquire(unit);
    ASSERT_EQ(tensors.size(), layout.size());
    for (size_t i = 0; i < layout.size(); ++i) {
      const std::string& name = layout[i].name;
      const bool matrix = layout[i].shape.size() == 2 || layout[i].shape.size() == 5;
      const bool product = matrix || (name.ends_with(".bias") && !name.ends_with("norm3.bias"));
      const bool exact = !product || name.starts_with("time_") || name.starts_with("head.");
      EXPECT_EQ(tensors[i].scalar_type(), exact ? at::kFloat : at::kBFloat16) << name;
      EXPECT_TRUE(at::equal(tensors[i], given.at(name).to(tensors[i].scalar_type()))) << name;
    }
    weights.release(unit);
  }
}

TEST(FrozenWeights, ShareWhatNeedsNoCast) {
  const ModelConfig config = tiny_dense();
  const auto given = random_weights(config, 1);
  FrozenWeights weights(config, given, "random");
  EXPECT_EQ(weights.acquire(0)[0].const_data_ptr(),
            given.at("blocks.0.modulation").const_data_ptr());
}

TEST(FrozenWeights, LieByColumnsForPasses) {
  const ModelConfig config = tiny_mla();
  const auto given = drawn_weights(config);
  FrozenWeights rows(config, given, "drawn");
  FrozenWeights columns(config, given, "drawn", at::kCPU, at::kFloat, MatrixOrder::kForPasses);
  for (const int64_t unit : all_units(config)) {
    const auto as_given = rows.acquire(unit), laid = columns.acquire(unit);
    for (size_t i = 0; i < laid.size(); ++i) {
      EXPECT_TRUE(at::equal(laid[i], as_given[i]));
      EXPECT_TRUE(laid[i].dim() != 2 || laid[i].stride(0) == 1);
    }
  }
  DitInputs inputs = to_float(tiny_inputs(config, 2));
  const PreparedPlan plan = prepared(config, bidirectional_plan(2), at::kFloat);
  for (const LatentForm form : {LatentForm::kExpanded, LatentForm::kAbsorbed}) {
    const auto flow = [&](FrozenWeights& weights) {
      return dit_forward({config, weights}, inputs, plan, {}, {.form = form}).flow_BFCHW;
    };
    // Sums of the same products, in another order.
    const at::Tensor expected = flow(rows);
    EXPECT_LT(max_difference(flow(columns), expected), 1e-5 * expected.abs().max().item<double>());
  }
}

TEST(FrozenWeights, TakeNoGradientAndNoMisfit) {
  const ModelConfig config = tiny_dense();
  auto given = drawn_weights(config);
  FrozenWeights weights(config, given, "drawn");
  EXPECT_THROW(weights.add_gradients(0, {}), c10::Error);
  given.erase("head.head.bias");
  EXPECT_THROW(FrozenWeights(config, given, "drawn"), UserError);
  EXPECT_THROW(TrainedWeights(config, given, "drawn"), UserError);
}

TEST(TrainedWeights, AreViewsOfFlatMasters) {
  const ModelConfig config = tiny_mla();
  const auto given = drawn_weights(config);
  TrainedWeights weights(config, given, "drawn", at::kCPU, at::kDouble, at::kDouble);
  int64_t count = 0;
  for (const int64_t unit : weights.units()) count += weights.master(unit).numel();
  EXPECT_EQ(count, parameter_count(config));
  for (const auto& [name, tensor] : weights.tensors()) {
    EXPECT_TRUE(at::equal(tensor, given.at(name))) << name;
  }
  // Tensors in the compute dtype follow changes of the masters.
  weights.acquire(0);
  weights.master(0).mul_(2.0);
  weights.drop_copies();
  EXPECT_TRUE(at::equal(weights.acquire(0)[0], 2.0 * given.at("blocks.0.modulation")));
  EXPECT_TRUE(at::equal(weights.tensors().at("blocks.0.modulation"),
                        2.0 * given.at("blocks.0.modulation")));
  EXPECT_TRUE(at::equal(weights.acquire(1)[0], given.at("blocks.1.modulation")));
}

TEST(TrainedWeights, NeedNoGradientBuffers) {
  const ModelConfig config = tiny_dense();
  const auto given = drawn_weights(config);
  TrainedWeights average(config, given, "drawn", at::kCPU, at::kDouble, at::kDouble, false);
  EXPECT_TRUE(at::equal(average.acquire(1)[0], given.at("blocks.1.modulation")));
  EXPECT_FALSE(average.gradient(1).defined());
  EXPECT_TRUE(average.gradients().empty());
  average.zero_gradients();
  EXPECT_THROW(average.add_gradients(1, std::vector<at::Tensor>(average.layout(1).size())),
               c10::Error);
}

TEST(TrainedWeights, Bf16CopiesAreMadeAnewAfterAnUpdate) {
  const ModelConfig config = tiny_dense();
  TrainedWeights weights(config, drawn_weights(config), "drawn", at::kCPU, at::kBFloat16);
  const auto check = [&] {
    const auto tensors = weights.acquire(0);
    const auto masters = weights.tensors();
    const auto& layout = weights.layout(0);
    for (size_t i = 0; i < layout.size(); ++i) {
      const at::Tensor& master = masters.at(layout[i].name);
      EXPECT_EQ(master.scalar_type(), at::kFloat);
      EXPECT_EQ(tensors[i].scalar_type(), compute_dtype_of(layout[i], at::kBFloat16, at::kFloat));
      EXPECT_TRUE(at::equal(tensors[i], master.to(tensors[i].scalar_type()))) << layout[i].name;
    }
  };
  check();
  weights.master(0).add_(0.25);
  weights.drop_copies();
  check();
}

TEST(TrainedWeights, OneBufferHoldsAUnitsCopies) {
  const ModelConfig config = tiny_dense();
  TrainedWeights weights(config, drawn_weights(config), "drawn", at::kCPU, at::kBFloat16);
  EXPECT_FALSE(weights.compute_copy(0).defined());
  const auto tensors = weights.acquire(0);
  const at::Tensor copy = weights.compute_copy(0);
  EXPECT_TRUE(at::equal(copy, weights.master(0).to(at::kBFloat16)));
  // Who writes masters and copies together need not have them made anew.
  weights.master(0).add_(0.25);
  copy.copy_(weights.master(0));
  weights.masters_and_copies_changed();
  const auto& layout = weights.layout(0);
  for (size_t i = 0; i < layout.size(); ++i) {
    const at::Tensor now = weights.acquire(0)[i];
    EXPECT_EQ(now.data_ptr(), tensors[i].data_ptr()) << layout[i].name;
    EXPECT_TRUE(at::equal(now, weights.tensors().at(layout[i].name).to(now.scalar_type())));
  }
  TrainedWeights exact(config, drawn_weights(config), "drawn");
  exact.acquire(0);
  EXPECT_FALSE(exact.compute_copy(0).defined());  // views of the masters
}

TEST(TrainedWeights, AddGradientsUpInFp32) {
  const ModelConfig config = tiny_dense();
  TrainedWeights weights(config, drawn_weights(config), "drawn", at::kCPU, at::kBFloat16);
  const auto& layout = weights.layout(1);
  std::vector<at::Tensor> gradients(layout.size());  // undefined ones count as zero
  gradients[1] = at::full(layout[1].shape, 1.0, at::kBFloat16);
  weights.add_gradients(1, gradients);
  gradients[1] = at::full(layout[1].shape, 1.0 / 1024, at::kBFloat16);
  weights.add_gradients(1, gradients);
  const at::Tensor flat = weights.gradient(1);
  EXPECT_EQ(flat.scalar_type(), at::kFloat);
  // 1 + 2^-10 would round to 1 in bf16.
  const at::Tensor sum = weights.gradients().at(layout[1].name);
  EXPECT_TRUE(at::equal(sum, at::full(layout[1].shape, 1.0 + 1.0 / 1024)));
  EXPECT_EQ(flat.sum().item<double>(), sum.sum().item<double>());
  EXPECT_EQ(weights.gradient(0).abs().max().item<double>(), 0.0);
  weights.zero_gradients();
  EXPECT_EQ(flat.abs().max().item<double>(), 0.0);
  EXPECT_THROW(weights.add_gradients(1, {}), c10::Error);
}

}  // namespace
}  // namespace vmla::model
