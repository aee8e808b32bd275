#pragma once

#include "trainer/roles/role_set.h"

#include <string>
#include <vector>

namespace vmla::trainer {

/// "trained", "frozen", "average"
const char* training_name(Training training);

/// A role's network before its weights are there.
struct PlannedRole {
  Role role;
  model::ModelConfig config;
  /// What says the sizes: the section `model`, the role's weights, the preset of init_from.ROLE, or
  /// nothing, and then a dense twin of the student stands in.
  std::string sizes_from;
  /// Frozen weights that are used where their file is mapped, without a copy.
  bool mapped = false;
};

/// The roles of a stage with their sizes, read from the headers of their files where those exist.
/// UserError as build_roles when a score does not fit.
std::vector<PlannedRole> planned_roles(const TrainConfig& config, const std::vector<Role>& roles);

/// The same of roles whose weights are there.
std::vector<PlannedRole> planned_roles(const RoleSet& set);

/// The networks of the roles by name, for FLOP counts.
RoleModels role_models(const std::vector<PlannedRole>& roles);

/// Bytes a role holds from its start to the end of the stage.
struct RoleBytes {
  int64_t parameters = 0;
  int64_t masters = 0;  // fp32 (fp64 in fp64 runs), of trained roles and averages
  int64_t computing =
      0;  // copies in the compute dtype, where that is another; all of a frozen role
  int64_t gradients = 0;
  int64_t first_moments = 0, second_moments = 0;
  int64_t mapped = 0;   // of `computing`: in a mapped file, no allocation
  int64_t on_host = 0;  // of all but what is mapped: in the host's memory (distributed.offload)
  int64_t held() const {
    return masters + computing + gradients + first_moments + second_moments - mapped - on_host;
  }
  /// What a checkpoint saves of the role.
  int64_t saved(Training training) const {
    return training == Training::kFrozen ? 0 : masters + first_moments + second_moments;
  }
};
/// Of one rank of a mesh.
RoleBytes role_bytes(const TrainConfig& config,
                     const PlannedRole& role,
                     const distributed::MeshShape& mesh);

/// The roles of one rank on the meta device: sizes without data.
RoleSet sizes_only_roles(const TrainConfig& config,
                         const std::vector<PlannedRole>& roles,
                         const distributed::Mesh& mesh);

}  // namespace vmla::trainer
