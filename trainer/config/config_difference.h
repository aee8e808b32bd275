#pragma once

#include <set>
#include <string>
#include <vector>

#include "trainer/config/train_config.h"

/// What changed between the configuration that a run was started with and the one that it is
/// resumed with, and whether a resumed run may change it. A new key may be changed unless the list
/// in config_difference.cpp holds it or its section.
namespace vmla::trainer {

/// One key whose value differs; values as yaml on one line, "(absent)" where there is none.
struct ConfigDifference {
  std::string key, saved, now;
  /// The change would contradict what was already trained.
  bool refused;
  bool operator==(const ConfigDifference&) const = default;
};

/// What the checkpoint holds the identity of, which is compared with that of what is there today
/// (trainer/roles/stage_origin.h): where it lies, and how it was made, may then differ.
struct KnownByContent {
  bool data = false;
  /// Entries of init_from.
  std::set<std::string> sources = {};
};

/// All differences, in file order. Refused: model, seed, batch, data, objective, initialisation,
/// and what the optimizer's state depends on. Accepted: number of steps, learning rates, intervals,
/// sampling, logging, and the machine (device, threads, ranks, sharding). An init_from that names a
/// pipeline's stage is compared by stage and role, so that a run folder can be moved. Places of
/// what is `known` by content are accepted.
std::vector<ConfigDifference> config_difference(const TrainConfig& saved,
                                                const TrainConfig& now,
                                                const KnownByContent& known = {});

/// The accepted differences. UserError, with `run_dir` in front, that names every refused key and
/// both of its values when there is one.
std::vector<ConfigDifference> check_resume(const TrainConfig& saved,
                                           const TrainConfig& now,
                                           const std::string& run_dir,
                                           const KnownByContent& known = {});

}  // namespace vmla::trainer
