#include "model/network/unit_function.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::ElementsAre;

/// One weight; counts what is asked of it.
class CountingSource : public WeightSource {
 public:
  std::vector<at::Tensor> acquire(int64_t unit) override {
    EXPECT_EQ(unit, 7);
    ++acquired;
    ++held;
    return {weight};
  }
  void release(int64_t unit) override {
    EXPECT_EQ(unit, 7);
    --held;
  }
  void add_gradients(int64_t unit, const std::vector<at::Tensor>& gradients) override {
    EXPECT_EQ(unit, 7);
    ASSERT_EQ(gradients.size(), 1u);
    EXPECT_EQ(held, 0);
    if (gradients[0].defined()) gradient.add_(gradients[0]);
  }
  at::Tensor weight = draw("weight", {3});
  at::Tensor gradient = at::zeros({3}, at::kDouble);
  int acquired = 0, held = 0;
};

UnitCall call(CountingSource& source, GradMode grad, Recompute recompute) {
  return {source, 7, grad, recompute};
}

/// (w x + y, w w): y may be undefined.
std::vector<at::Tensor> body(const std::vector<at::Tensor>& w,
                             const std::vector<at::Tensor>& in,
                             kernels::KeptAttention*) {
  const at::Tensor product = w[0] * in[0];
  return {in[1].defined() ? product + in[1] : product, w[0] * w[0]};
}

TEST(UnitFunction, GradientsOfWeightsAndInputs) {
  for (const auto& [name, recompute] : kRecomputeNames) {
    CountingSource source;
    const at::Tensor x = draw("x", {3}).requires_grad_(), y = draw("y", {3}).requires_grad_();
    const at::Tensor g = draw("g", {3});
    const auto out = run_unit(call(source, GradMode::kFull, recompute), body, {x, y});
    EXPECT_EQ(source.acquired, 1);
    EXPECT_EQ(source.held, 0);
    (out[0] * g + out[1]).sum().backward();
    EXPECT_EQ(source.acquired, recompute == Recompute::kNone ? 1 : 2);
    EXPECT_EQ(source.held, 0);
    EXPECT_LT(max_difference(x.grad(), source.weight * g), 1e-15);
    EXPECT_LT(max_difference(y.grad(), g), 1e-15);
    EXPECT_LT(max_difference(source.gradient, x.detach() * g + 2 * source.weight), 1e-15);
    EXPECT_FALSE(source.weight.requires_grad());
  }
}

TEST(UnitFunction, UndefinedInputsKeepTheirPlace) {
  CountingSource source;
  const at::Tensor x = draw("x", {3}), y = draw("y", {3}).requires_grad_();
  const auto swapped = [](const std::vector<at::Tensor>& w,
                          const std::vector<at::Tensor>& in,
                          kernels::KeptAttention*) {
    EXPECT_FALSE(in[0].defined());
    return body(w, {in[1], in[2]}, nullptr);
  };
  const auto out = run_unit(call(source, GradMode::kFull, Recompute::kBlock), swapped, {{}, x, y});
  out[0].sum().backward();
  EXPECT_LT(max_difference(y.grad(), at::ones({3}, at::kDouble)), 1e-15);
  EXPECT_LT(max_difference(source.gradient, x), 1e-15);
}

TEST(UnitFunction, ModesDecideWhatIsRecorded) {
  CountingSource source;
  const at::Tensor x = draw("x", {3});
  const auto requires_grad = [&](GradMode grad, const at::Tensor& input) {
    std::vector<bool> found;
    for (const auto& out : run_unit(call(source, grad, Recompute::kNone), body, {input, {}})) {
      found.push_back(out.requires_grad());
    }
    return found;
  };
  const at::Tensor leaf = x.clone().requires_grad_();
  EXPECT_THAT(requires_grad(GradMode::kNone, leaf), ElementsAre(false, false));
  EXPECT_THAT(requires_grad(GradMode::kInput, x), ElementsAre(false, false));
  EXPECT_THAT(requires_grad(GradMode::kFull, x), ElementsAre(true, true));
  const auto out = run_unit(call(source, GradMode::kInput, Recompute::kNone), body, {leaf, {}});
  out[0].sum().backward();
  EXPECT_LT(max_difference(leaf.grad(), source.weight), 1e-15);
  EXPECT_EQ(source.gradient.abs().max().item<double>(), 0.0);
}

TEST(UnitFunction, RecordsOnlyWhatItKeeps) {
  for (const auto& [name, recompute] : kRecomputeNames) {
    CountingSource source;
    std::vector<bool> recorded;
    const auto watched = [&](const std::vector<at::Tensor>& w,
                             const std::vector<at::Tensor>& in,
                             kernels::KeptAttention*) {
      const auto out = body(w, in, nullptr);
      recorded.push_back(out[0].requires_grad());
      return out;
    };
    const auto out =
        run_unit(call(source, GradMode::kFull, recompute), watched, {draw("x", {3}), {}});
    EXPECT_TRUE(out[0].requires_grad());
    out[0].sum().backward();
    EXPECT_EQ(recorded,
              recompute == Recompute::kNone ? std::vector<bool>({true})
                                            : std::vector<bool>({false, true}));
  }
}

TEST(UnitFunction, UnusedOutputsAreNoTrouble) {
  CountingSource source;
  const at::Tensor x = draw("x", {3});
  // Only the second output is used: it does not depend on x.
  const auto out = run_unit(call(source, GradMode::kFull, Recompute::kBlock), body, {x, {}});
  out[1].sum().backward();
  EXPECT_LT(max_difference(source.gradient, 2 * source.weight), 1e-15);
}

TEST(UnitFunction, ReleasesWhenTheBodyThrows) {
  CountingSource source;
  const auto bad = [](const std::vector<at::Tensor>&,
                      const std::vector<at::Tensor>&,
                      kernels::KeptAttention*) -> std::vector<at::Tensor> {
    throw std::runtime_error("bad body");
  };
  for (const GradMode grad : {GradMode::kNone, GradMode::kInput, GradMode::kFull}) {
    EXPECT_THROW(run_unit(call(source, grad, Recompute::kNone), bad, {}), std::runtime_error);
    EXPECT_EQ(source.held, 0);
  }
}

}  // namespace
}  // namespace vmla::model
