#include "analysis/report/sampling_passes.h"

#include <algorithm>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

// Entries of a list as flat_yaml writes it: "[a, b]".
size_t list_length(const std::string& list) {
  if (list.size() <= 2) return 0;
  return static_cast<size_t>(std::ranges::count(list, ',')) + 1;
}

// Steps of the student that the stage trains; 0: it trains none.
size_t student_steps(const RunContents& run) {
  return list_length(
      run.setting("objective." + run.setting("objective.name") + ".denoising_step_list"));
}

}  // namespace

bool samples_in_few_steps(const RunContents& run) {
  const std::string sampler = run.setting("sample.sampler");
  return sampler == "few_step" || (sampler == "auto" && student_steps(run) > 0);
}

std::string sampling_passes(const RunContents& run) {
  if (samples_in_few_steps(run)) {
    const size_t steps = student_steps(run);
    if (steps == 0) return "";
    return steps == 1 ? "1 pass" : formatted("{} passes", steps);
  }
  const std::string steps = run.setting("sample.steps");
  if (steps.empty()) return "";
  // With guidance every step takes two passes: with the prompt and with the negative one.
  const std::string guidance = run.setting("sample.guidance_scale");
  const bool guided = guidance != "1" && guidance != "1.0";
  return guided ? formatted("{} × 2 passes", steps) : formatted("{} passes", steps);
}

std::string forced_passes(const RunContents& run) {
  const size_t steps = list_length(run.setting("sample.also_few_step"));
  return steps == 0 ? "" : formatted("{} passes", steps);
}

}  // namespace vmla::analysis
