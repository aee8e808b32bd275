#pragma once

#include "model/conversion/mla_from_dense.h"
#include "model/formats/load_weights.h"
#include "trainer/config/train_config.h"

#include <string>
#include <vector>

/// Where the weights of a stage's roles come from before the first step.
namespace vmla::trainer {

/// The weights a role starts from, under their Wan names, and how they came about.
struct InitialWeights {
  model::TensorMap tensors = {};
  std::string origin = {};         // for the log
  model::ModelConfig config = {};  // of these weights
  std::string init_method = {};    // "" when weights were taken as they are or drawn from scratch
  std::vector<model::InitLayerReport> conversion = {};  // of svd_weight, one a layer
};

/// The init_from entry a role reads: its own, else that of the role it shares weights with.
std::string source_role(const TrainConfig& config, const Role& role);

/// A score's own sizes: what its files say, else the preset that init_from names.
model::ModelConfig score_config(const InitSource& source, const model::LoadedWeights& loaded);

/// Weights for `role`, from init_from.SOURCE (a dense model for an MLA role goes through
/// init.method), or fresh from the seed when SOURCE is not named there. UserError when the source
/// does not fit, naming the keys.
InitialWeights initial_weights(const TrainConfig& config,
                               const std::string& role,
                               const std::string& source,
                               const model::ConvertLayers& convert = model::convert_alone);

/// Opens what init_from names and checks that each role can start from it, without building
/// anything: for a plan. A stage that has not run yet is passed over, and so are, with a warning,
/// weights that are not on this machine. ConfigRuleError or UserError as initial_weights.
void check_sources(const TrainConfig& config);

}  // namespace vmla::trainer
