#include "trainer/objectives/registry.h"

#include "model/io/error.h"
#include "trainer/objectives/consistency_distillation.h"
#include "trainer/objectives/diffusion_forcing.h"
#include "trainer/objectives/dmd.h"
#include "trainer/objectives/flow_matching.h"
#include "trainer/objectives/ode_regression.h"
#include "trainer/objectives/teacher_forcing.h"

namespace vmla::trainer {
namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Objective> (*make)(const ObjectiveConfig&, const model::ModelConfig&);
};

// A new training method is one line here.
constexpr Entry kObjectives[] = {
    {"flow_matching",
     [](const ObjectiveConfig& c, const model::ModelConfig& m) {
       return make_flow_matching(c.flow_matching, m);
     }},
    {"diffusion_forcing",
     [](const ObjectiveConfig& c, const model::ModelConfig& m) {
       return make_diffusion_forcing(c.diffusion_forcing, m);
     }},
    {"teacher_forcing",
     [](const ObjectiveConfig& c, const model::ModelConfig& m) {
       return make_teacher_forcing(c.teacher_forcing, m);
     }},
    {"ode_regression",
     [](const ObjectiveConfig& c, const model::ModelConfig& m) {
       return make_ode_regression(c.ode_regression, m);
     }},
    {"consistency_distillation",
     [](const ObjectiveConfig& c, const model::ModelConfig& m) {
       return make_consistency_distillation(c.consistency_distillation, m);
     }},
    {"dmd",
     [](const ObjectiveConfig& c, const model::ModelConfig& m) { return make_dmd(c.dmd, m); }},
};

}  // namespace

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config,
                                          const model::ModelConfig& model) {
  std::string known;
  for (const Entry& entry : kObjectives) {
    if (config.name == entry.name) return entry.make(config, model);
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail_user("objective.name '{}' is unknown: known are {}", config.name, known);
}

double total_flops(const std::vector<PhaseFlops>& phases) {
  double sum = 0;
  for (const PhaseFlops& phase : phases) sum += phase.flops;
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
