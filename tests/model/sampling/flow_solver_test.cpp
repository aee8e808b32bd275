#include "model/sampling/flow_solver.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "tests/model/tiny_network.h"

namespace vmla::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SamplerSettings settings(SamplerKind kind, int64_t steps = 20) {
  SamplerSettings s;
  s.kind = kind;
  s.steps = steps;
  return s;
}

at::Tensor no_noise(int64_t) {
  ADD_FAILURE() << "this sampler draws no fresh noise";
  return {};
}

/// sigma at which a sampler takes the noise to be (docs/algorithms.md 8.3: UniPC starts at u =
/// 0.999).
double first_sigma(const SamplerSettings& s) {
  return s.kind == SamplerKind::kUnipc ? shifted_sigma(0.999, s.timestep_shift) : 1.0;
}

TEST(FlowSolver, ConstantVelocityIsSolvedExactly) {
  const at::Tensor noise = draw("noise", {16}), v = draw("velocity", {16});
  for (const SamplerKind kind : {SamplerKind::kEuler, SamplerKind::kUnipc}) {
    for (const int64_t steps : {1, 2, 3, 20}) {
      const SamplerSettings s = settings(kind, steps);
      int64_t calls = 0;
      const auto field = [&](const at::Tensor&, double) {
        ++calls;
        return v;
      };
      const at::Tensor found = solve_flow(s, noise, field, no_noise);
      // Sums of order 1 in fp64; UniPC multiplies and divides by sigma >= 0.2 steps times.
      EXPECT_LT(max_difference(found, noise - first_sigma(s) * v), 1e-12) << steps;
      EXPECT_EQ(calls, steps);
    }
  }
}

TEST(FlowSolver, VisitsItsGrid) {
  std::vector<double> visited;
  const auto field = [&](const at::Tensor& x, double t) {
    visited.push_back(t);
    return at::zeros_like(x);
  };
  solve_flow(settings(SamplerKind::kEuler, 48), at::zeros({1}), field, no_noise);
  EXPECT_EQ(visited, timestep_grid(48, 5.0));
  visited.clear();
  solve_flow(settings(SamplerKind::kUnipc, 2), at::zeros({1}), field, no_noise);
  // u = 0.999 and 0.4995 under shift 5.
  EXPECT_THAT(visited,
              ElementsAre(testing::DoubleNear(1000 * 4.995 / 4.996, 1e-9),
                          testing::DoubleNear(1000 * 2.4975 / 2.998, 1e-9)));
}

// Data ~ N(0, s^2): x_t has variance D = (1 - sigma)^2 s^2 + sigma^2, the best velocity is
// E[eps - x0 | x] = x (sigma - (1 - sigma) s^2) / D, and the flow scales x by sqrt(D).
constexpr double kDataVariance = 0.25;
double variance(double sigma) {
  return (1 - sigma) * (1 - sigma) * kDataVariance + sigma * sigma;
}
at::Tensor gaussian_velocity(const at::Tensor& x, double t) {
  const double sigma = t / 1000;
  return x * ((sigma - (1 - sigma) * kDataVariance) / variance(sigma));
}

double gaussian_error(const SamplerSettings& s) {
  const at::Tensor noise = at::ones({1}, at::kDouble);
  const double exact = std::sqrt(kDataVariance / variance(first_sigma(s)));
  return std::abs(solve_flow(s, noise, gaussian_velocity, no_noise).item<double>() - exact);
}

TEST(FlowSolver, ConvergesOnGaussianDataWithItsOrder) {
  const auto ratio = [&](SamplerKind kind, int64_t steps) {
    return gaussian_error(settings(kind, steps)) / gaussian_error(settings(kind, 2 * steps));
  };
  // Order p divides the error by 2^p; what is left of the next term of the expansion is below 5 %
  // at these counts. UniPC's order is that of its last step, which takes the last x0 as it is.
  EXPECT_NEAR(ratio(SamplerKind::kEuler, 200), 2.0, 0.1);
  EXPECT_NEAR(ratio(SamplerKind::kUnipc, 800), 4.0, 0.2);
  for (const int64_t steps : {20, 50, 100}) {
    EXPECT_LT(gaussian_error(settings(SamplerKind::kUnipc, steps)),
              gaussian_error(settings(SamplerKind::kEuler, steps)));
  }
}

/// One UniPC trajectory in its integral form: with lambda = ln((1 - sigma) / sigma) the flow is
/// x / sigma = x_p / sigma_p + integral of e^lambda m(lambda), m the predicted x0. The corrector of
/// order 2 puts the parabola through the last three m under the integral (here by Simpson's rule),
/// that of order 1 the mean of two, the predictor the last m moved half a step along the last
/// slope.
double unipc_by_quadrature(double x, int64_t steps, double shift) {
  std::vector<double> sigmas, lambdas, m;
  for (int64_t i = 0; i < steps; ++i) {
    sigmas.push_back(
        shifted_sigma(0.999 * static_cast<double>(steps - i) / static_cast<double>(steps), shift));
    lambdas.push_back(std::log((1 - sigmas.back()) / sigmas.back()));
  }
  const auto weight = [&](size_t from, size_t to) {  // integral of e^lambda
    return std::exp(lambdas[to]) - std::exp(lambdas[from]);
  };
  double corrected = x;  // at node i, before the predictor's step
  for (size_t i = 0;; ++i) {
    m.push_back(
        x - sigmas[i] *
                gaussian_velocity(at::full({1}, x, at::kDouble), 1000 * sigmas[i]).item<double>());
    if (i + 1 == sigmas.size()) return m[i];
    if (i == 1) {
      corrected = sigmas[1] * (corrected / sigmas[0] + weight(0, 1) * (m[0] + m[1]) / 2);
    } else if (i > 1) {
      const double *at = &lambdas[i - 2], *value = &m[i - 2];
      const auto parabola = [&](double l) {
        return value[0] * (l - at[1]) * (l - at[2]) / ((at[0] - at[1]) * (at[0] - at[2])) +
               value[1] * (l - at[0]) * (l - at[2]) / ((at[1] - at[0]) * (at[1] - at[2])) +
               value[2] * (l - at[0]) * (l - at[1]) / ((at[2] - at[0]) * (at[2] - at[1]));
      };
      constexpr int kCells = 2000;
      const double cell = (at[2] - at[1]) / kCells;
      double integral = 0;
      for (int c = 0; c < kCells; ++c) {
        const double l = at[1] + c * cell;
        const auto f = [&](double p) { return std::exp(p) * parabola(p); };
        integral += cell / 6 * (f(l) + 4 * f(l + cell / 2) + f(l + cell));
      }
      corrected = sigmas[i] * (corrected / sigmas[i - 1] + integral);
    }
    double ahead = m[i];
    if (i > 0) {
      const double slope = (m[i] - m[i - 1]) / (lambdas[i] - lambdas[i - 1]);
      ahead += slope * (lambdas[i + 1] - lambdas[i]) / 2;
    }
    x = sigmas[i + 1] * (corrected / sigmas[i] + weight(i, i + 1) * ahead);
  }
}

TEST(FlowSolver, UnipcIsItsIntegralForm) {
  for (const int64_t steps : {1, 2, 3, 4, 10, 50}) {
    for (const double shift : {1.0, 5.0}) {
      SamplerSettings s = settings(SamplerKind::kUnipc, steps);
      s.timestep_shift = shift;
      const at::Tensor found =
          solve_flow(s, at::full({1}, 0.7, at::kDouble), gaussian_velocity, no_noise);
      // Simpson's error: (h / cells)^4, h up to 9 in the log signal-to-noise ratio.
      EXPECT_NEAR(found.item<double>(), unipc_by_quadrature(0.7, steps, shift), 1e-8) << steps;
    }
  }
}

TEST(FlowSolver, FewStepPredictsThenRenoises) {
  const at::Tensor noise = draw("noise", {8}), data = draw("data", {8});
  const SamplerSettings s = settings(SamplerKind::kFewStep);
  const auto fresh = [](int64_t k) { return draw("fresh" + std::to_string(k), {8}); };
  std::vector<double> visited;
  const auto field = [&](const at::Tensor& x, double t) {
    const double sigma = t / 1000;
    const size_t k = visited.size();
    const at::Tensor eps = k == 0 ? noise : fresh(static_cast<int64_t>(k) - 1);
    // The first call sees the noise itself, the k-th the last prediction under fresh noise k - 1.
    const at::Tensor renoised = (1 - sigma) * (data + static_cast<double>(k) - 1) + sigma * eps;
    EXPECT_LT(max_difference(x, renoised), 1e-13);
    visited.push_back(t);
    return (x - (data + static_cast<double>(k))) / sigma;  // predicts data + k
  };
  const at::Tensor found = solve_flow(s, noise, field, fresh);
  EXPECT_LT(max_difference(found, data + 3), 1e-13);
  EXPECT_EQ(visited, warped_step_list({1000, 750, 500, 250}, 5.0));
}

TEST(FlowSolver, KnowsItsNames) {
  EXPECT_EQ(parse_sampler("few_step"), SamplerKind::kFewStep);
  EXPECT_EQ(parse_sampler("unipc"), SamplerKind::kUnipc);
  EXPECT_EQ(parse_sampler("euler"), SamplerKind::kEuler);
  try {
    parse_sampler("ddim");
    FAIL() << "an unknown sampler was accepted";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'ddim'"));
    EXPECT_THAT(error.what(), HasSubstr("few_step, unipc, euler"));
  }
}

}  // namespace
}  // namespace vmla::model
