#pragma once

#include "trainer/checkpoint/saved_stage.h"
#include "trainer/roles/initial_weights.h"
#include "trainer/roles/role_state.h"

#include <memory>
#include <string>
#include <vector>

namespace vmla::trainer {

/// The states of all roles of a stage.
struct RoleSet {
  std::vector<RoleState> states;
  /// How the generator's weights came about, without its tensors; empty on resume.
  InitialWeights generator_origin;
  /// The ranks that share a clip's tokens; null: this one has them all.
  std::unique_ptr<model::SequenceGroup> sequence;

  RoleState& at(const std::string& name);
  const RoleState& at(const std::string& name) const;
  bool has(const std::string& name) const;
  /// The role whose weights stand for the stage: a moving average of the generator where there is
  /// one.
  const RoleState& best() const;
  /// All roles' networks as an objective calls them.
  NetworkTable networks(bool recompute) const;
  RoleModels models() const;
  model::Network network(const RoleState& state) const;
};

/// The ranks that share a clip with this one; null when there are none.
std::unique_ptr<model::SequenceGroup> sequence_ranks(const distributed::Mesh& mesh);

/// Builds all roles of a stage, in the order of `roles`. With `saved`, a checkpoint of the stage,
/// the weights and optimizer states it holds are taken from there instead of init_from. Collective:
/// ranks share the conversion of dense weights.
RoleSet build_roles(const TrainConfig& config,
                    const std::vector<Role>& roles,
                    const SavedStage* saved,
                    const distributed::Mesh& mesh);

}  // namespace vmla::trainer
