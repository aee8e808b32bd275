#pragma once

#include <string>

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// Whether `role` of a stage can start from the weights of another stage: its kind, its sizes, its
/// window. ConfigRuleError names the key of `config` that does not fit. `source` names the other
/// stage in messages ("stage pretrain", a checkpoint's path).
void check_start(const TrainConfig& config,
                 const std::string& role,
                 const TrainConfig& from,
                 const std::string& source);

/// How chunks and window differ from those that the weights of `role` were trained with, for a
/// warning: "local_attn_size 7 -> 10"; empty when they do not.
std::string other_window(const TrainConfig& config,
                         const std::string& role,
                         const TrainConfig& from);

}  // namespace vmla::trainer
