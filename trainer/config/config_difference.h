#pragma once

#include <string>
#include <vector>

#include "trainer/config/train_config.h"

/// What changed between the configuration a run was started with and the one it is resumed with.
namespace vmla::trainer {

/// One key whose value differs; values as yaml on one line, "(absent)" where there is none.
struct ConfigDifference {
  std::string key, saved, now;
  bool refused;  // it would change what was already trained
  bool operator==(const ConfigDifference&) const = default;
};

/// All differences, in file order. Model, seed, batch, data, objective, initialisation and what the
/// optimizer's state depends on are refused; steps, rates, intervals, sampling, logging and the
/// machine are taken. An init_from of a pipeline's stage is compared by stage and role, so that a
/// run folder can be moved.
std::vector<ConfigDifference> config_difference(const TrainConfig& saved, const TrainConfig& now);

/// The accepted differences; UserError that names every refused key with both values when there is
/// one.
std::vector<ConfigDifference> check_resume(const TrainConfig& saved,
                                           const TrainConfig& now,
                                           const std::string& run_dir);

}  // namespace vmla::trainer
