#include "trainer/objectives/objective.h"

#include "model/io/error.h"

namespace vmla::trainer {

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config,
                                          const model::ModelConfig& model) {
  // The section's type chooses the overload, and with it the source that defines it.
  std::unique_ptr<Objective> objective;
  visit_objective(config, [&](const auto& section) { objective = make_objective(section, model); });
  return objective;
}

double total_flops(const std::vector<PhaseFlops>& phases) {
  double sum = 0;
  for (const PhaseFlops& phase : phases) sum += phase.of_a_step();
  return sum;
}

const at::Tensor& input_tensor(const model::TensorMap& inputs, const std::string& name) {
  const auto found = inputs.find(name);
  if (found != inputs.end()) return found->second;
  std::string given;
  for (const auto& [other, tensor] : inputs) given += (given.empty() ? "" : ", ") + other;
  fail_user("the objective needs the tensor '{}', given: {}", name, given);
}

}  // namespace vmla::trainer
