#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// The rectified-flow schedule (docs/algorithms.md 7), exact: sigma = t / 1000 everywhere, no
/// table. x_t = (1 − sigma) x0 + sigma eps, v = eps − x0. Plain arithmetic in fp64, no LibTorch.
namespace vmla::model {

constexpr double kTrainTimesteps = 1000.0;

/// sigma of the uniform u in [0, 1] under a timestep shift s: s u / (1 + (s − 1) u).
double shifted_sigma(double u, double shift);

/// The training table: 1000 sigmas, descending from 1, u_i = 1 − i / 1000 after the shift.
std::vector<double> training_sigmas(double shift);

/// The entry of `sigmas` nearest to t / 1000. Reference code that looks sigma up in the training
/// table uses it instead of the exact value.
double quantized_sigma(double timestep, const std::vector<double>& sigmas);

/// The loss weight of teacher forcing at t: exp(−2 ((t − 500)/1000)²) minus its minimum over the
/// training table of `shift`, scaled so that its mean over that table is 1 (docs/algorithms.md
/// 7.5); continuous in t.
class LossWeight {
 public:
  explicit LossWeight(double shift);
  double operator()(double timestep) const;

 private:
  double minimum_;
  double scale_;
};

/// `steps` descending timesteps from 1000, a shifted uniform grid (docs/algorithms.md 7.4),
/// without the final 0.
std::vector<double> timestep_grid(int64_t steps, double shift);

/// A denoising_step_list in linear units ([1000, 750, 500, 250]) after the shift: [1000, 937.5,
/// 833.33, 625]. A trailing 0 is dropped. UserError, which calls the list `name`, if it does not
/// decrease or leaves (0, 1000].
std::vector<double> warped_step_list(const std::vector<double>& list,
                                     double shift,
                                     const std::string& name = "denoising_step_list");

/// `steps` evenly spaced steps before the shift: 4 give [1000, 750, 500, 250], the published list.
std::vector<double> even_step_list(int64_t steps);

}  // namespace vmla::model
