#include "model/sampling/flow_match_schedule.h"

#include "model/io/error.h"

#include <algorithm>
#include <cmath>

namespace vmla::model {
namespace {

double bell(double timestep) {
  const double z = (timestep - kTrainTimesteps / 2) / kTrainTimesteps;
  return std::exp(-2.0 * z * z);
}

}  // namespace

double shifted_sigma(double u, double shift) {
  return shift * u / (1.0 + (shift - 1.0) * u);
}

std::vector<double> training_sigmas(double shift) {
  std::vector<double> sigmas;
  const int64_t count = static_cast<int64_t>(kTrainTimesteps);
  for (int64_t i = 0; i < count; ++i) {
    sigmas.push_back(shifted_sigma(1.0 - static_cast<double>(i) / kTrainTimesteps, shift));
  }
  return sigmas;
}

double quantized_sigma(double timestep, const std::vector<double>& sigmas) {
  const double target = timestep / kTrainTimesteps;
  return *std::min_element(sigmas.begin(), sigmas.end(), [&](double a, double b) {
    return std::abs(a - target) < std::abs(b - target);
  });
}

LossWeight::LossWeight(double shift) {
  const std::vector<double> sigmas = training_sigmas(shift);
  minimum_ = bell(kTrainTimesteps * sigmas[0]);
  for (double sigma : sigmas) minimum_ = std::min(minimum_, bell(kTrainTimesteps * sigma));
  double sum = 0.0;
  for (double sigma : sigmas) sum += bell(kTrainTimesteps * sigma) - minimum_;
  scale_ = kTrainTimesteps / sum;
}

double LossWeight::operator()(double timestep) const {
  return (bell(timestep) - minimum_) * scale_;
}

std::vector<double> timestep_grid(int64_t steps, double shift) {
  std::vector<double> timesteps;
  for (int64_t i = 0; i < steps; ++i) {
    const double u = 1.0 - static_cast<double>(i) / static_cast<double>(steps);
    timesteps.push_back(kTrainTimesteps * shifted_sigma(u, shift));
  }
  return timesteps;
}

std::vector<double> warped_step_list(const std::vector<double>& list,
                                     double shift,
                                     const std::string& name) {
  std::vector<double> steps = list;
  if (steps.size() > 1 && steps.back() == 0.0) steps.pop_back();
  if (steps.empty()) {
    fail_user("{} is empty: at least one step is needed, e.g. [1000]", name);
  }
  std::vector<double> warped;
  for (size_t k = 0; k < steps.size(); ++k) {
    const double step = steps[k];
    if (!(step > 0.0 && step <= kTrainTimesteps)) {
      fail_user("{}: found {:g}: steps must lie in (0, 1000]", name, step);
    }
    if (k > 0 && step >= steps[k - 1]) {
      fail_user("{}: found {:g} after {:g}: steps must decrease", name, step, steps[k - 1]);
    }
    warped.push_back(kTrainTimesteps * shifted_sigma(step / kTrainTimesteps, shift));
  }
  return warped;
}

std::vector<double> even_step_list(int64_t steps) {
  std::vector<double> list;
  for (int64_t k = 0; k < steps; ++k) {
    list.push_back(kTrainTimesteps * static_cast<double>(steps - k) / static_cast<double>(steps));
  }
  return list;
}

}  // namespace vmla::model
