#pragma once

#include "data/store/dataset_identity.h"
#include "model/formats/safetensors.h"
#include "model/io/checkpoint_manifest.h"
#include "trainer/config/config_difference.h"
#include "trainer/config/train_config.h"

#include <map>
#include <optional>
#include <string>

namespace vmla::trainer {

/// What a stage learns from, by content and not by path. Every checkpoint holds it among the values
/// of its data position (docs/formats.md), so that a resumed run can tell whether it goes on with
/// the same clips and the same frozen networks.
struct StageOrigin {
  /// The clips or prompts of data.path; none in checkpoints of older versions.
  std::optional<data::DatasetIdentity> data;
  /// By entry of init_from: weights_hash of the tensors that it gave.
  std::map<std::string, std::string> sources;
};

/// Adds the origin to a checkpoint's values.
void write_origin(const StageOrigin& origin, std::map<std::string, io::ManifestValue>& values);

/// The counterpart of write_origin. What the values do not say stays empty.
StageOrigin read_origin(const std::map<std::string, io::ManifestValue>& values);

/// SHA-256 over names, types and shapes of all tensors and over some bytes of each: its first, its
/// middle and its last 4 KiB. Training changes every tensor, so the hash finds out weights that
/// were trained further, without reading all of a large model. The tensors must be on the CPU.
std::string weights_hash(const model::TensorMap& tensors);

/// What `saved` knows by content, for check_resume: frozen roles read their weights again, which
/// are then compared; entries of init_from that name another place than before are opened here.
KnownByContent known_by_content(const StageOrigin& saved,
                                const TrainConfig& before,
                                const TrainConfig& now);

/// Compares the clips that are in data.path today with those that the checkpoint of `step` was
/// trained on. ConfigRuleError where they differ and data.allow_other_data does not permit it; a
/// warning where it does. Checkpoints that do not say are taken as they are.
void expect_same_data(const TrainConfig& config,
                      const StageOrigin& saved,
                      const data::DatasetIdentity& today,
                      int64_t step);

/// The same for the weights `today` of the entry `source` of init_from, which frozen roles read
/// again on every start: `described` says in messages what they are.
void expect_same_source(const TrainConfig& config,
                        const StageOrigin& saved,
                        const std::string& source,
                        const std::string& today,
                        const std::string& described,
                        int64_t step);

}  // namespace vmla::trainer
