#include "kernels/modulate/modulate.h"

#include <gtest/gtest.h>

#include "tests/kernels/draws.h"
#include "tests/support/gradient_check.h"

namespace vmla::kernels {
namespace {

using tests::autograd_gradients;
using tests::draw;
using tests::gradients_match;
using tests::near_max;
using tests::same_bits;

constexpr double kEps = 1e-6;
// fp32: two means, a root, and five operations a result: about 16 roundings of 2^-24 of the largest
// term.
constexpr double kTolerance32 = 16 * 0x1p-24;
constexpr double kTolerance16 = 0x1p-8;  // bf16: the last rounding, half a unit of 2^-8

struct Shape {
  int64_t B, F, S, D;
};
const Shape kShapes[] = {{1, 1, 1, 1}, {1, 1, 5, 7}, {2, 3, 1, 33}, {2, 3, 5, 64}, {3, 2, 16, 257}};

TEST(LayerNormModulate, MatchesTheReferenceOverOddSizes) {
  for (const auto& [B, F, S, D] : kShapes) {
    const at::Tensor x = draw(1, {B, F, S, D}) + 0.5;
    const at::Tensor shift = draw(2, {B, F, D});
    const at::Tensor scale = draw(3, {B, F, D});
    const at::Tensor expected = layer_norm_modulate_reference(x, shift, scale, kEps);
    EXPECT_TRUE(near_max(layer_norm_modulate(x, shift, scale, kEps), expected, 1e-13)) << D;
    const auto f32 = [](const at::Tensor& t) { return t.to(at::kFloat); };
    EXPECT_TRUE(
        near_max(layer_norm_modulate(f32(x), f32(shift), f32(scale), kEps), expected, kTolerance32))
        << D;
    const at::Tensor x16 = x.to(at::kBFloat16);
    const at::Tensor y16 = layer_norm_modulate(x16, f32(shift), f32(scale), kEps);
    EXPECT_EQ(y16.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(near_max(
        y16, layer_norm_modulate_reference(x16.to(at::kDouble), shift, scale, kEps), kTolerance16))
        << D;
  }
}

TEST(LayerNormModulate, KeepsItsPrecisionFarFromZero) {
  // A mean of 1000 with a spread of 1: the one-pass variance would lose all digits. The mean is
  // rounded to 2^-24 of 1000, which is 6e-5 of the spread.
  const at::Tensor x = draw(4, {1, 2, 5, 64}) + 1000;
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor zero = at::zeros({1, 2, 64});
  const at::Tensor expected = layer_norm_modulate_reference(
      x32.to(at::kDouble), zero.to(at::kDouble), zero.to(at::kDouble), kEps);
  EXPECT_TRUE(near_max(layer_norm_modulate(x32, zero, zero, kEps), expected, 1e-4));
}

TEST(LayerNormModulate, ReadsStridedInputs) {
  const at::Tensor x = draw(5, {2, 3, 5, 40}, at::kFloat).narrow(3, 4, 33);
  const at::Tensor six = draw(6, {2, 3, 6, 33}, at::kFloat);  // the model's six modulation vectors
  const at::Tensor shift = six.select(2, 0);
  const at::Tensor scale = six.select(2, 1);
  const at::Tensor expected =
      layer_norm_modulate(x.contiguous(), shift.contiguous(), scale.contiguous(), kEps);
  EXPECT_TRUE(same_bits(layer_norm_modulate(x, shift, scale, kEps), expected));
  const at::Tensor shared =
      draw(7, {1, 1, 33}, at::kFloat).expand({2, 3, 33});  // one timestep for all
  EXPECT_TRUE(same_bits(layer_norm_modulate(x, shared, shared, kEps),
                        layer_norm_modulate(x, shared.contiguous(), shared.contiguous(), kEps)));
}

TEST(LayerNormModulate, HasTheGradientOfCentralDifferences) {
  const auto f = [](const std::vector<at::Tensor>& in) {
    return layer_norm_modulate(in[0], in[1], in[2], 1e-2);
  };
  for (const auto& [B, F, S, D] : {Shape{1, 1, 5, 1}, Shape{2, 2, 1, 7}, Shape{1, 2, 5, 33}}) {
    EXPECT_TRUE(
        gradients_match(f, {draw(8, {B, F, S, D}), draw(9, {B, F, D}), draw(10, {B, F, D})}))
        << D;
  }
}

TEST(LayerNormModulate, GradientInFp32AndBf16FollowsFp64) {
  const auto f = [](const std::vector<at::Tensor>& in) {
    return layer_norm_modulate(in[0], in[1], in[2], kEps);
  };
  const at::Tensor x = draw(11, {2, 3, 16, 65});
  const at::Tensor six = draw(12, {2, 3, 6, 65});
  const at::Tensor g = draw(13, {2, 3, 16, 65});
  const auto exact = autograd_gradients(f, {x, six.select(2, 3), six.select(2, 4)}, g);
  const at::Tensor six32 = six.to(at::kFloat);
  const auto got = autograd_gradients(
      f, {x.to(at::kFloat), six32.select(2, 3), six32.select(2, 4)}, g.to(at::kFloat));
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(near_max(got[i], exact[i], 2 * kTolerance32)) << i;
  const at::Tensor x16 = x.to(at::kBFloat16);
  const at::Tensor g16 = g.to(at::kBFloat16);
  const auto exact16 = autograd_gradients(
      f, {x16.to(at::kDouble), six.select(2, 3), six.select(2, 4)}, g16.to(at::kDouble));
  const auto got16 = autograd_gradients(f, {x16, six32.select(2, 3), six32.select(2, 4)}, g16);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(near_max(got16[i], exact16[i], kTolerance16)) << i;
}

TEST(LayerNormModulate, MakesBf16OfAnFp32Residual) {
  const auto f = [](const std::vector<at::Tensor>& in) {
    return layer_norm_modulate(in[0], in[1], in[2], kEps, at::kBFloat16);
  };
  const at::Tensor x = draw(18, {2, 3, 16, 65}, at::kFloat);
  const at::Tensor shift = draw(19, {2, 3, 65}, at::kFloat),
                   scale = draw(20, {2, 3, 65}, at::kFloat);
  const at::Tensor y = f({x, shift, scale});
  EXPECT_TRUE(same_bits(y, layer_norm_modulate(x, shift, scale, kEps).to(at::kBFloat16)));
  // The gradient that comes in is rounded, and nothing else is.
  const at::Tensor g = draw(21, {2, 3, 16, 65}, at::kBFloat16);
  const auto got = autograd_gradients(f, {x, shift, scale}, g);
  const auto exact = autograd_gradients(
      [](const std::vector<at::Tensor>& in) {
        return layer_norm_modulate(in[0], in[1], in[2], kEps);
      },
      {x.to(at::kDouble), shift.to(at::kDouble), scale.to(at::kDouble)},
      g.to(at::kDouble));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(got[i].scalar_type(), at::kFloat);
    EXPECT_TRUE(near_max(got[i], exact[i], 2 * kTolerance32)) << i;
  }
}

TEST(LayerNormModulate, GivesTheSameBitsWithAndWithoutGradient) {
  const at::Tensor x = draw(14, {2, 3, 5, 33}, at::kFloat);
  const at::Tensor m = draw(15, {2, 3, 33}, at::kFloat);
  const at::Tensor recorded = layer_norm_modulate(x, m.detach().requires_grad_(), m, kEps);
  EXPECT_TRUE(recorded.requires_grad());
  EXPECT_TRUE(same_bits(layer_norm_modulate(x, m, m, kEps), recorded));
}

TEST(LayerNormModulate, DoesNotDependOnThePlaceInTheBatch) {
  const at::Tensor x = draw(16, {4, 3, 5, 33}, at::kFloat);
  const at::Tensor m = draw(17, {4, 3, 33}, at::kFloat);
  const at::Tensor all = layer_norm_modulate(x, m, m, kEps);
  for (int64_t b = 0; b < 4; ++b) {
    const at::Tensor one = m.narrow(0, b, 1);
    EXPECT_TRUE(
        same_bits(layer_norm_modulate(x.narrow(0, b, 1), one, one, kEps), all.narrow(0, b, 1)))
        << b;
  }
}

at::Tensor joined(const ResidualNorm& both) {
  return at::cat({both.sum_BFSD, both.norm_BFSD.to(both.sum_BFSD.scalar_type())}, -1);
}

/// in: x, update, shift, scale, and a gate where there is one.
at::Tensor joined_norm(const std::vector<at::Tensor>& in,
                       ScaleIs scale_is,
                       double eps = kEps,
                       std::optional<at::ScalarType> dtype = {}) {
  const at::Tensor gate = in.size() > 4 ? in[4] : at::Tensor();
  return joined(residual_norm(
      {in[0], in[1], gate, in[2], in[3], scale_is, eps, dtype.value_or(in[0].scalar_type())}));
}

std::vector<at::Tensor> residual_inputs(const Shape& s, bool gated) {
  std::vector<at::Tensor> in{draw(40, {s.B, s.F, s.S, s.D}) + 0.5,
                             draw(41, {s.B, s.F, s.S, s.D}),
                             draw(42, {s.B, s.F, s.D}),
                             draw(43, {s.B, s.F, s.D})};
  if (gated) in.push_back(draw(44, {s.B, s.F, s.D}));
  return in;
}

constexpr std::array kScales{ScaleIs::kChange, ScaleIs::kGain};

TEST(ResidualNorm, MatchesTheReferenceOverOddSizes) {
  for (const Shape& shape : kShapes) {
    for (const bool gated : {false, true}) {
      for (const ScaleIs scale_is : kScales) {
        std::vector<at::Tensor> in = residual_inputs(shape, gated);
        const auto reference = [&] {
          const at::Tensor gate = gated ? in[4] : at::Tensor();
          return joined(residual_norm_reference(
              {in[0], in[1], gate, in[2], in[3], scale_is, kEps, at::kDouble}));
        };
        const at::Tensor expected = reference();
        EXPECT_TRUE(near_max(joined_norm(in, scale_is), expected, 1e-13)) << shape.D;
        for (at::Tensor& t : in) t = t.to(at::kFloat);
        EXPECT_TRUE(near_max(joined_norm(in, scale_is), expected, kTolerance32)) << shape.D;
        // A bf16 branch on a sum in fp32, of which the norm alone is rounded.
        in[1] = in[1].to(at::kBFloat16);
        const at::Tensor mixed = joined_norm(in, scale_is, kEps, at::kBFloat16);
        for (at::Tensor& t : in) t = t.to(at::kDouble);
        const at::Tensor exact = reference();
        EXPECT_TRUE(near_max(mixed, exact, kTolerance16)) << shape.D;
        EXPECT_TRUE(
            near_max(mixed.narrow(-1, 0, shape.D), exact.narrow(-1, 0, shape.D), kTolerance32))
            << shape.D;
      }
    }
  }
}

TEST(ResidualNorm, IsTheGatedResidualAndItsNorm) {
  const auto in = residual_inputs({2, 3, 5, 64}, true);
  std::vector<at::Tensor> f32;
  for (const at::Tensor& t : in) f32.push_back(t.to(at::kFloat));
  const at::Tensor sum = gated_residual(f32[0], f32[1], f32[4]);
  const ResidualNorm both =
      residual_norm({f32[0], f32[1], f32[4], f32[2], f32[3], ScaleIs::kChange, kEps, at::kFloat});
  EXPECT_TRUE(same_bits(both.sum_BFSD, sum));
  EXPECT_TRUE(same_bits(both.norm_BFSD, layer_norm_modulate(sum, f32[2], f32[3], kEps)));
  const ResidualNorm of_library =
      residual_norm({in[0], in[1], {}, in[2], in[3], ScaleIs::kGain, kEps, at::kDouble});
  const at::Tensor normed = at::layer_norm(in[0] + in[1], {64}, {}, {}, kEps);
  EXPECT_TRUE(
      near_max(of_library.norm_BFSD, normed * in[3].unsqueeze(2) + in[2].unsqueeze(2), 1e-13));
}

TEST(ResidualNorm, ReadsStridedInputsAndRepeatedRows) {
  const at::Tensor x = draw(45, {2, 3, 5, 40}, at::kFloat).narrow(3, 4, 33);
  const at::Tensor update = draw(46, {2, 5, 3, 33}, at::kFloat).transpose(1, 2);
  const at::Tensor six = draw(47, {2, 3, 6, 33}, at::kFloat);
  const at::Tensor gain = draw(48, {33}, at::kFloat).expand({2, 3, 33});
  const std::vector<at::Tensor> in{x, update, six.select(2, 1), gain, six.select(2, 2)};
  std::vector<at::Tensor> dense;
  for (const at::Tensor& t : in) dense.push_back(t.contiguous());
  EXPECT_TRUE(same_bits(joined_norm(in, ScaleIs::kGain), joined_norm(dense, ScaleIs::kGain)));
}

TEST(ResidualNorm, HasTheGradientOfCentralDifferences) {
  for (const Shape& shape : {Shape{1, 1, 5, 1}, Shape{2, 2, 1, 7}, Shape{1, 2, 5, 33}}) {
    for (const bool gated : {false, true}) {
      for (const ScaleIs scale_is : kScales) {
        const auto f = [&](const std::vector<at::Tensor>& in) {
          return joined_norm(in, scale_is, 1e-2);
        };
        EXPECT_TRUE(gradients_match(f, residual_inputs(shape, gated))) << shape.D << gated;
      }
    }
  }
}

TEST(ResidualNorm, GradientInFp32AndBf16FollowsFp64) {
  for (const bool gated : {false, true}) {
    const auto f = [](const std::vector<at::Tensor>& in) {
      return joined_norm(in, ScaleIs::kChange, kEps, in[1].scalar_type());
    };
    std::vector<at::Tensor> given = residual_inputs({2, 3, 16, 65}, gated), exact;
    const at::Tensor g = draw(49, {2, 3, 16, 130}, at::kFloat);
    for (const at::ScalarType of_update : {at::kFloat, at::kBFloat16}) {
      exact.clear();
      for (size_t i = 0; i < given.size(); ++i) {
        given[i] = given[i].to(i == 1 ? of_update : at::kFloat);
        exact.push_back(given[i].to(at::kDouble));
      }
      const auto got = autograd_gradients(f, given, g);
      const auto expected = autograd_gradients(f, exact, g.to(at::kDouble));
      for (size_t i = 0; i < given.size(); ++i) {
        EXPECT_EQ(got[i].scalar_type(), given[i].scalar_type());
        // In bf16 what comes in for the norm is rounded, and what goes out for the update.
        const double tolerance = of_update == at::kFloat ? 2 * kTolerance32 : 2 * kTolerance16;
        EXPECT_TRUE(near_max(got[i], expected[i], tolerance)) << i << gated;
      }
    }
  }
}

TEST(ResidualNorm, GivesTheSameBitsWithAndWithoutGradient) {
  std::vector<at::Tensor> in;
  for (const at::Tensor& t : residual_inputs({2, 3, 5, 33}, true)) in.push_back(t.to(at::kFloat));
  const at::Tensor without = joined_norm(in, ScaleIs::kChange);
  in[4] = in[4].detach().requires_grad_();
  const at::Tensor recorded = joined_norm(in, ScaleIs::kChange);
  EXPECT_TRUE(recorded.requires_grad());
  EXPECT_TRUE(same_bits(without, recorded));
}

TEST(GatedResidual, MatchesTheReferenceOverOddSizes) {
  for (const auto& [B, F, S, D] : kShapes) {
    const at::Tensor x = draw(20, {B, F, S, D});
    const at::Tensor y = draw(21, {B, F, S, D});
    const at::Tensor gate = draw(22, {B, F, D});
    const at::Tensor expected = gated_residual_reference(x, y, gate);
    EXPECT_TRUE(near_max(gated_residual(x, y, gate), expected, 1e-15)) << D;
    const auto f32 = [](const at::Tensor& t) { return t.to(at::kFloat); };
    // Three rounded inputs and two operations.
    EXPECT_TRUE(near_max(gated_residual(f32(x), f32(y), f32(gate)), expected, 5 * 0x1p-24)) << D;
    const at::Tensor x16 = x.to(at::kBFloat16);
    const at::Tensor y16 = y.to(at::kBFloat16);
    const at::Tensor out16 = gated_residual(x16, y16, f32(gate));
    EXPECT_EQ(out16.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(near_max(out16,
                         gated_residual_reference(x16.to(at::kDouble), y16.to(at::kDouble), gate),
                         kTolerance16))
        << D;
  }
}

TEST(GatedResidual, TakesAnFp32ResidualWithABf16Branch) {
  const at::Tensor x = draw(23, {1, 2, 3, 9}, at::kFloat);
  const at::Tensor y = draw(24, {1, 2, 3, 9}, at::kBFloat16);
  const at::Tensor gate = draw(25, {1, 2, 9}, at::kFloat);
  const at::Tensor out = gated_residual(x, y, gate);
  EXPECT_EQ(out.scalar_type(), at::kFloat);
  EXPECT_TRUE(near_max(out, gated_residual_reference(x, y.to(at::kFloat), gate), 4 * 0x1p-24));
}

TEST(GatedResidual, GradientOfABf16BranchFollowsFp64) {
  const auto f = [](const std::vector<at::Tensor>& in) {
    return gated_residual(in[0], in[1], in[2]);
  };
  const at::Tensor x = draw(32, {2, 3, 16, 65}, at::kFloat),
                   g = draw(34, {2, 3, 16, 65}, at::kFloat);
  const at::Tensor y = draw(33, {2, 3, 16, 65}, at::kBFloat16);
  const at::Tensor gate = draw(35, {2, 3, 65}, at::kFloat);
  const auto got = autograd_gradients(f, {x, y, gate}, g);
  const auto exact = autograd_gradients(
      f, {x.to(at::kDouble), y.to(at::kDouble), gate.to(at::kDouble)}, g.to(at::kDouble));
  EXPECT_TRUE(same_bits(got[0], g));
  EXPECT_EQ(got[1].scalar_type(), at::kBFloat16);
  EXPECT_TRUE(near_max(got[1], exact[1], kTolerance16));
  EXPECT_EQ(got[2].scalar_type(), at::kFloat);
  EXPECT_TRUE(near_max(got[2], exact[2], 2 * kTolerance32));
}

TEST(GatedResidual, ReadsStridedInputs) {
  const at::Tensor x = draw(26, {2, 3, 5, 40}, at::kFloat).narrow(3, 4, 33);
  const at::Tensor y = draw(27, {2, 5, 3, 33}, at::kFloat).transpose(1, 2);
  const at::Tensor gate = draw(28, {2, 3, 6, 33}, at::kFloat).select(2, 5);
  EXPECT_TRUE(same_bits(gated_residual(x, y, gate),
                        gated_residual(x.contiguous(), y.contiguous(), gate.contiguous())));
}

TEST(GatedResidual, HasTheGradientOfCentralDifferences) {
  const auto f = [](const std::vector<at::Tensor>& in) {
    return gated_residual(in[0], in[1], in[2]);
  };
  for (const auto& [B, F, S, D] : {Shape{1, 1, 5, 1}, Shape{2, 2, 1, 7}, Shape{1, 2, 5, 33}}) {
    EXPECT_TRUE(
        gradients_match(f, {draw(29, {B, F, S, D}), draw(30, {B, F, S, D}), draw(31, {B, F, D})}))
        << D;
  }
}

TEST(GatedResidual, GradientInFp32FollowsFp64) {
  const auto f = [](const std::vector<at::Tensor>& in) {
    return gated_residual(in[0], in[1], in[2]);
  };
  const at::Tensor x = draw(32, {2, 3, 16, 65});
  const at::Tensor y = draw(33, {2, 3, 16, 65});
  const at::Tensor gate = draw(34, {2, 3, 65});
  const at::Tensor g = draw(35, {2, 3, 16, 65});
  const auto exact = autograd_gradients(f, {x, y, gate}, g);
  const auto got = autograd_gradients(
      f, {x.to(at::kFloat), y.to(at::kFloat), gate.to(at::kFloat)}, g.to(at::kFloat));
  // The gate's gradient sums 16 products of rounded factors.
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(near_max(got[i], exact[i], kTolerance32)) << i;
}

}  // namespace
}  // namespace vmla::kernels
