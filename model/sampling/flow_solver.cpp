#include "model/sampling/flow_solver.h"

#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "model/sampling/noise_and_flow.h"

#include <ATen/ATen.h>

#include <cmath>

namespace vmla::model {
namespace {

at::Tensor solve_euler(const SamplerSettings& settings,
                       at::Tensor x,
                       const VelocityField& velocity) {
  std::vector<double> grid = timestep_grid(settings.steps, settings.timestep_shift);
  grid.push_back(0.0);
  for (size_t i = 0; i + 1 < grid.size(); ++i) {
    x = euler_step(x, velocity(x, grid[i]), grid[i], grid[i + 1]);
  }
  return x;
}

at::Tensor solve_few_step(const SamplerSettings& settings,
                          at::Tensor x,
                          const VelocityField& velocity,
                          const FreshNoise& fresh_noise) {
  const std::vector<double> steps =
      warped_step_list(settings.denoising_step_list, settings.timestep_shift);
  for (size_t k = 0; k < steps.size(); ++k) {
    const at::Tensor clean = clean_from_flow(x, velocity(x, steps[k]), steps[k] / kTrainTimesteps);
    if (k + 1 == steps.size()) return clean;
    x = add_noise(clean, fresh_noise(static_cast<int64_t>(k)), steps[k + 1] / kTrainTimesteps);
  }
  return x;
}

/// sigmas of UniPC: 0.999 → 0 uniformly, last dropped, shifted, 0 appended (docs/algorithms.md
/// 8.3).
std::vector<double> unipc_sigmas(const SamplerSettings& settings) {
  constexpr double kFirst = 0.999;
  std::vector<double> sigmas;
  for (int64_t i = 0; i < settings.steps; ++i) {
    const double u = kFirst * (1.0 - static_cast<double>(i) / static_cast<double>(settings.steps));
    sigmas.push_back(shifted_sigma(u, settings.timestep_shift));
  }
  sigmas.push_back(0.0);
  return sigmas;
}

/// Half log signal-to-noise ratio; infinite at sigma = 0.
double half_log_snr(double sigma) {
  return std::log((1.0 - sigma) / sigma);
}

/// UniPC-2 with B(h) = e^h − 1, predicting x0. The corrector re-computes the present x from the one
/// before with the new network output; then the predictor goes on. First and last step are of
/// order 1.
at::Tensor solve_unipc(const SamplerSettings& settings,
                       at::Tensor x,
                       const VelocityField& velocity) {
  const std::vector<double> sigmas = unipc_sigmas(settings);
  const size_t steps = sigmas.size() - 1;
  at::Tensor previous_x;            // x before the last predictor step
  at::Tensor m_previous, m_before;  // x0 predictions of the last step and of the one before it
  for (size_t i = 0; i < steps; ++i) {
    const double sigma = sigmas[i];
    const at::Tensor m_now = clean_from_flow(x, velocity(x, kTrainTimesteps * sigma), sigma);
    if (i > 0) {
      const double from = sigmas[i - 1];
      const double h = half_log_snr(sigma) - half_log_snr(from);
      const double q = -h, p = std::expm1(q);
      at::Tensor correction;
      if (i == 1) {
        correction = 0.5 * (m_now - m_previous);
      } else {
        const double r = (half_log_snr(sigmas[i - 2]) - half_log_snr(from)) / h;
        const double g1 = p / q - 1.0, g2 = g1 / q - 0.5;
        const double b1 = g1 / p, b2 = 2.0 * g2 / p;
        const double rho_before = (b1 - b2) / (1.0 - r);  // solves [[1, 1], [r, 1]] rho = [b1, b2]
        const double rho_now = b1 - rho_before;
        correction = (rho_before / r) * (m_before - m_previous) + rho_now * (m_now - m_previous);
      }
      const double alpha = 1.0 - sigma;
      x = (sigma / from) * previous_x - alpha * p * m_previous - alpha * p * correction;
    }
    previous_x = x;
    const double next = sigmas[i + 1];
    if (next == 0.0) return m_now;
    const double h = half_log_snr(next) - half_log_snr(sigma);
    const double p = std::expm1(-h), alpha = 1.0 - next;
    x = (next / sigma) * x - alpha * p * m_now;
    if (i > 0) {
      const double r = (half_log_snr(sigmas[i - 1]) - half_log_snr(sigma)) / h;
      x = x - alpha * p * 0.5 * (m_previous - m_now) / r;
    }
    m_before = m_previous;
    m_previous = m_now;
  }
  return x;
}

}  // namespace

SamplerKind parse_sampler(const std::string& name) {
  if (name == "few_step") return SamplerKind::kFewStep;
  if (name == "unipc") return SamplerKind::kUnipc;
  if (name == "euler") return SamplerKind::kEuler;
  fail_user("unknown sampler '{}': known are few_step, unipc, euler", name);
}

std::string sampler_name(SamplerKind kind) {
  if (kind == SamplerKind::kFewStep) return "few_step";
  return kind == SamplerKind::kUnipc ? "unipc" : "euler";
}

SamplerSettings first_chunk_settings(const SamplerSettings& settings) {
  SamplerSettings first = settings;
  if (!settings.first_chunk_denoising_step_list.empty()) {
    first.denoising_step_list = settings.first_chunk_denoising_step_list;
  }
  return first;
}

size_t fresh_noise_count(const SamplerSettings& settings) {
  return settings.kind == SamplerKind::kFewStep ? settings.denoising_step_list.size() - 1 : 0;
}

at::Tensor solve_flow(const SamplerSettings& settings,
                      const at::Tensor& noise,
                      const VelocityField& velocity,
                      const FreshNoise& fresh_noise) {
  switch (settings.kind) {
    case SamplerKind::kEuler:
      return solve_euler(settings, noise, velocity);
    case SamplerKind::kUnipc:
      return solve_unipc(settings, noise, velocity);
    case SamplerKind::kFewStep:
      return solve_few_step(settings, noise, velocity, fresh_noise);
  }
  TORCH_INTERNAL_ASSERT(false);
}

}  // namespace vmla::model
