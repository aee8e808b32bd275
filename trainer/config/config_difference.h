#pragma once

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

/// All differences, in file order. Refused: model, seed, batch, data, objective, initialisation,
/// and what the optimizer's state depends on. Accepted: number of steps, learning rates, intervals,
/// sampling, logging, and the machine (device, threads, ranks, sharding). An init_from that names a
/// pipeline's stage is compared by stage and role, so that a run folder can be moved.
std::vector<ConfigDifference> config_difference(const TrainConfig& saved, const TrainConfig& now);

/// The accepted differences. UserError, with `run_dir` in front, that names every refused key and
/// both of its values when there is one.
std::vector<ConfigDifference> check_resume(const TrainConfig& saved,
                                           const TrainConfig& now,
                                           const std::string& run_dir);

}  // namespace vmla::trainer
