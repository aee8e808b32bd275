#pragma once

#include "trainer/checkpoint/saved_stage.h"
#include "trainer/roles/initial_weights.h"
#include "trainer/roles/role_state.h"
#include "trainer/roles/stage_origin.h"

#include <memory>
#include <string>
#include <vector>

namespace vmla::trainer {

/// The states of all roles of a stage.
struct RoleSet {
  /// In the order of the roles: the order in which a step updates them.
  std::vector<RoleState> states;
  /// How the generator's weights came about, without the tensors; empty on resume.
  InitialWeights generator_origin;
  /// How the generator's latent attention came from dense weights, also in an earlier stage.
  std::string init_method;
  /// What init_from gave; `data` is for the owner to fill in.
  StageOrigin origin;
  /// The ranks that share a clip's tokens; null: this rank has all of them.
  std::unique_ptr<model::SequenceGroup> sequence;
  /// Where activations wait for their backward (distributed.offload); null: where they were made.
  std::unique_ptr<model::HostActivations> activations;

  /// The role of this name, which must be there.
  RoleState& at(const std::string& name);
  const RoleState& at(const std::string& name) const;
  bool has(const std::string& name) const;
  /// The moving averages that follow `player`, as the update at `step` moves them.
  std::vector<MovingAverage> averages_of(const std::string& player, int64_t step);
  /// Drops the copies in the compute dtype of roles that no pass of a step uses, which validation
  /// and samples have made: a step's peak does without them.
  void make_room_for_step();
  /// Where best() is no role that a step computes with: drops the copies of the role that it stands
  /// in for, before validation and samples. What is gathered of cut weights stays.
  void make_room_for_best();
  /// The role whose weights stand for the stage in validation and samples: generator_ema, else
  /// target_ema, else generator.
  const RoleState& best() const;
  /// All roles' networks as an objective calls them. They refer to this set.
  NetworkTable networks(const TrainConfig& config) const;
  /// All roles' sizes.
  RoleModels models() const;
  /// One role's network, which refers to this set.
  model::Network network(const RoleState& state) const;
};

/// The ranks that share a clip with this one (distributed.sequence_parallel_size); null where there
/// are none.
std::unique_ptr<model::SequenceGroup> sequence_ranks(const distributed::Mesh& mesh);

/// For activations that are kept in the host's memory; null where they are not.
std::unique_ptr<model::HostActivations> host_activations(const TrainConfig& config,
                                                         at::Device device);

/// Builds all roles of a stage, in the order of `roles`. With `saved`, a checkpoint of the stage,
/// the weights of trained roles and averages are read from there instead of init_from; optimizer
/// state is read by restore_training. Collective: ranks share the conversion of dense weights.
/// UserError where weights do not fit, or where a frozen role has others than when it was saved.
RoleSet build_roles(const TrainConfig& config,
                    const std::vector<Role>& roles,
                    const SavedStage* saved,
                    const distributed::Mesh& mesh,
                    const Calibrate& calibrate = {});

}  // namespace vmla::trainer
