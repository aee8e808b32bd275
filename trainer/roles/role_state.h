#pragma once

#include "model/conversion/mla_from_dense.h"
#include "model/formats/load_weights.h"
#include "model/weights/local_weights.h"
#include "model/weights/uploaded_weights.h"
#include "trainer/checkpoint/saved_stage.h"
#include "trainer/config/train_config.h"
#include "trainer/distributed/mesh.h"
#include "trainer/objectives/objective.h"
#include "trainer/roles/optimizer.h"

#include <memory>
#include <string>
#include <vector>

namespace vmla::trainer {

/// The dtype of the stage's matrix products (train.precision).
at::ScalarType compute_dtype(const TrainConfig& config);

/// The dtype of latents, noise and times as networks get them: fp64 in fp64 runs, where everything
/// derived from them (rotary tables) is to be as exact; else fp32.
at::ScalarType input_dtype(const TrainConfig& config);

/// Inputs of an evaluation on the stage's device, in the input dtype where they are floating point.
void place_inputs(const TrainConfig& config, model::TensorMap& inputs);

/// Whether sharding cuts the weights in use too, so that they are gathered for every use.
bool cuts_used_weights(const TrainConfig& config);

/// Whether what is gathered of a role stays until its weights change: for sharding that cuts
/// optimizer state alone, and for a role that rolls out where weights may be held.
bool stays_gathered(const TrainConfig& config, const Role& role);

/// The objective's roles, and the moving average that the section `ema` asks for.
std::vector<Role> stage_roles(const TrainConfig& config, const Objective& objective);

/// The init_from entry a role reads: its own, else that of the role it shares weights with.
std::string source_role(const TrainConfig& config, const Role& role);

/// A score's own sizes: what its files say, else the preset that init_from names.
model::ModelConfig score_config(const InitSource& source, const model::LoadedWeights& loaded);

/// UserError unless a score of these sizes sees the student's latents and texts; `source` names it.
void expect_score_fits(const TrainConfig& config,
                       const std::string& role,
                       const model::ModelConfig& score,
                       const std::string& source);

/// One role of a run: its network's sizes, its weights in this process, and what trains them.
struct RoleState {
  Role role;
  model::ModelConfig config;
  std::unique_ptr<model::TrainedWeights> weights;  // trained, or a moving average
  std::unique_ptr<model::WeightSource> frozen;
  std::unique_ptr<AdamW> optimizer;  // of a trained role
  /// Of weights that stay in the host's memory (distributed.offload): as networks use them.
  std::unique_ptr<model::UploadedWeights> uploaded;

  model::WeightSource& source() const;
};

/// A role with these weights, on `device`; of cut buffers only the rank's part is read from
/// `tensors`.
RoleState make_role_state(const TrainConfig& config,
                          const Role& role,
                          const model::ModelConfig& model,
                          const model::TensorMap& tensors,
                          at::Device device,
                          const distributed::Mesh& mesh);

/// The ranks that share a clip with this one; null when there are none.
std::unique_ptr<model::SequenceGroup> sequence_ranks(const distributed::Mesh& mesh);

/// The weights a stage starts from, under their Wan names, and how they came about.
struct InitialWeights {
  model::TensorMap tensors;
  std::string origin;         // for the log
  model::ModelConfig config;  // of these weights
  std::string init_method;    // "" when weights were taken as they are or drawn from scratch
  std::vector<model::InitLayerReport> conversion;  // of svd_weight
};

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

/// The states of all roles of a stage. With `saved`, a checkpoint of the stage, the weights it
/// holds are taken from there instead of init_from.
struct RoleSet {
  std::vector<RoleState> states;
  InitialWeights generator_origin;  // without its tensors; empty on resume

  RoleState& at(const std::string& name);
  const RoleState& at(const std::string& name) const;
  bool has(const std::string& name) const;
  NetworkTable networks(bool recompute) const;
  RoleModels models() const;
  model::Network network(const RoleState& state) const;

  /// The ranks that share a clip's tokens; null: this one has them all.
  std::unique_ptr<model::SequenceGroup> sequence;
};
RoleSet build_roles(const TrainConfig& config,
                    const std::vector<Role>& roles,
                    const SavedStage* saved,
                    const distributed::Mesh& mesh);

}  // namespace vmla::trainer
