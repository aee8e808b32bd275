#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "trainer/config/config_node.h"
#include "trainer/config/train_config.h"
#include "trainer/config/validate_config.h"

/// From a stage's yaml file to a TrainConfig and back. Nothing else reads a configuration to train
/// by; analysis/ parses yaml too, but of finished runs and of tables of tensor names.
namespace vmla::trainer {

/// Reads `path`, applies `overrides` ("a.b=c"), fills in what follows from other keys and validates
/// for `purpose`. UserError on the first thing that is wrong: file and line, full key, value, and
/// what would be valid.
TrainConfig load_config(const std::filesystem::path& path,
                        const std::vector<std::string>& overrides,
                        Purpose purpose = Purpose::kTrain);

/// The same for a tree that is already parsed (a pipeline's stage).
TrainConfig load_config(const ConfigNode& root, Purpose purpose);

/// Reads `path` (empty: no file, overrides alone) over `base`, without the rules across sections:
/// for `vmla forward` and `vmla init`, which need the sections `model` and `init` of a file that
/// may hold nothing else. `base` has the sizes that the weights' files state. The resulting model
/// is validated.
TrainConfig read_config(const std::filesystem::path& path,
                        const std::vector<std::string>& overrides,
                        const TrainConfig& base = {});

/// Checks keys and types as read_config does, but no rule: all that can be checked before the
/// weights are opened.
void check_config_syntax(const std::filesystem::path& path,
                         const std::vector<std::string>& overrides);

/// Runs `work`, which may find a rule broken that the file alone does not show (ConfigRuleError,
/// such as of a checkpoint that the stage cannot start from), and puts file and line of the key in
/// front of the message.
void with_config_origins(const std::filesystem::path& path,
                         const std::vector<std::string>& overrides,
                         const std::function<void()>& work);

/// The complete configuration as yaml, every key with its value; load_config of it gives an equal
/// struct.
std::string resolved_yaml(const TrainConfig& config);

/// Reads what resolved_yaml wrote (a run folder's config.yaml, a checkpoint's copy): keys and types
/// are checked, rules are not, for they may have become stricter since.
TrainConfig parse_resolved(const std::string& yaml, const std::string& name);

}  // namespace vmla::trainer
