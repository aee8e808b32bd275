#pragma once

#include <string>

#include "trainer/config/train_config.h"

namespace vmla::trainer {

/// Checks that `role` of the stage `config` can start from the weights of the stage `from`: kind of
/// attention, sizes, chunks and window. ConfigRuleError names the key of `config` that does not
/// fit. `source` names the other stage in messages ("stage pretrain", a checkpoint's path). Used
/// before a pipeline starts, and again when the weights are loaded.
void check_start(const TrainConfig& config,
                 const std::string& role,
                 const TrainConfig& from,
                 const std::string& source);

/// How chunks and window differ from those that the weights of `role` were trained with, for a
/// warning: "local_attn_size 7 -> 10" (trained -> now); empty where they are the same, and for a
/// source that has none (bidirectional).
std::string other_window(const TrainConfig& config,
                         const std::string& role,
                         const TrainConfig& from);

}  // namespace vmla::trainer
