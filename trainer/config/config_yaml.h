#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "trainer/config/config_node.h"
#include "trainer/config/train_config.h"
#include "trainer/config/validate_config.h"

/// From a stage's yaml file to a TrainConfig and back. The yaml itself is parsed in
/// config_yaml.cpp, the one user of yaml-cpp; nothing else in the program reads configuration.
namespace vmla::trainer {

/// Reads `path`, applies `overrides` ("a.b=c"), fills in what follows from other keys and
/// validates. UserError on the first thing that is wrong: file and line, full key, value, what
/// would be valid.
TrainConfig load_config(const std::filesystem::path& path,
                        const std::vector<std::string>& overrides,
                        Purpose purpose = Purpose::kTrain);

/// The same for a tree that is already parsed (a pipeline's stage).
TrainConfig load_config(const ConfigNode& root, Purpose purpose);

/// Reads `path` (empty: no file, overrides only) over `base` without the rules across sections: for
/// `forward` and `init`, which need the sections `model` and `init` of a file that may hold nothing
/// else. `base` has the sizes that the weights say. The model that results is validated.
TrainConfig read_config(const std::filesystem::path& path,
                        const std::vector<std::string>& overrides,
                        const TrainConfig& base = {});

/// Checks keys and types as read_config does, but no rule: what can be said before the weights are
/// opened.
void check_config_syntax(const std::filesystem::path& path,
                         const std::vector<std::string>& overrides);

/// Runs `work`, which may break a rule that takes more than the file to see (ConfigRuleError, say
/// of the checkpoint it starts from), and puts file and line of the key in front of the message.
void with_config_origins(const std::filesystem::path& path,
                         const std::vector<std::string>& overrides,
                         const std::function<void()>& work);

/// The complete configuration as yaml; load_config of it gives an equal struct.
std::string resolved_yaml(const TrainConfig& config);

/// Reads what resolved_yaml wrote (a run folder's config.yaml, a checkpoint's copy): strict, not
/// validated.
TrainConfig parse_resolved(const std::string& yaml, const std::string& name);

/// Every key with its default and meaning, one a line.
std::string config_reference();

}  // namespace vmla::trainer
