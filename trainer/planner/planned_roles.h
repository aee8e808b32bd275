#pragma once

#include "trainer/roles/role_set.h"

#include <string>
#include <vector>

namespace vmla::trainer {

/// "trained", "frozen", "average"
const char* training_name(Training training);

/// A role of a plan: its network's sizes, before any weights are there.
struct PlannedRole {
  Role role;
  model::ModelConfig config;
  /// Where the sizes come from, for people: the section `model`, the role's weights, the preset of
  /// init_from.ROLE; or that a score of unknown sizes is taken for a dense twin of the student.
  std::string sizes_from;
  /// Whether these are frozen weights that are used where their file is mapped, without a copy.
  bool mapped = false;
};

/// The roles of a stage with their sizes, which are read from the headers of their files where
/// those exist. UserError, as by build_roles, where a score does not fit.
std::vector<PlannedRole> planned_roles(const TrainConfig& config, const std::vector<Role>& roles);

/// The same for roles that are built.
std::vector<PlannedRole> planned_roles(const RoleSet& set);

/// The sizes of the roles' networks by name, for FLOP counts.
RoleModels role_models(const std::vector<PlannedRole>& roles);

/// Bytes that one rank holds of a role from the start to the end of the stage. Gathered weights
/// that are dropped after each use are no part of it: they are in a step's phases.
struct RoleBytes {
  /// Elements of the whole network, not bytes.
  int64_t parameters = 0;
  /// fp32 (fp64 in fp64 runs); of trained roles and averages.
  int64_t masters = 0;
  /// Weights to compute with besides the masters: copies in the compute dtype where that is
  /// another, weights that stay gathered, and all weights of a frozen role.
  int64_t computing = 0;
  int64_t gradients = 0;
  int64_t first_moments = 0, second_moments = 0;
  /// Of `computing`: in a mapped file, so that nothing is allocated.
  int64_t mapped = 0;
  /// Of all the others: in the host's memory (distributed.offload).
  int64_t on_host = 0;
  /// On the device that the stage computes on.
  int64_t held() const {
    return masters + computing + gradients + first_moments + second_moments - mapped - on_host;
  }
  /// Bytes that this rank's part of the role takes in a checkpoint.
  int64_t saved(Training training) const {
    return training == Training::kFrozen ? 0 : masters + first_moments + second_moments;
  }
};
/// What one rank of a mesh holds of a role.
RoleBytes role_bytes(const TrainConfig& config,
                     const PlannedRole& role,
                     const distributed::MeshShape& mesh);

/// The roles of one rank as build_roles makes them, but on the meta device: sizes without data. The
/// groups of `mesh` need not move anything (dry_mesh).
RoleSet sizes_only_roles(const TrainConfig& config,
                         const std::vector<PlannedRole>& roles,
                         const distributed::Mesh& mesh);

}  // namespace vmla::trainer
