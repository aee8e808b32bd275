#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "trainer/config/optimizer_config.h"

namespace vmla::trainer {

/// What becomes of a role's weights during a stage: an optimizer changes them, nothing does, or
/// they follow another role as an exponential moving average.
enum class Training { kTrained, kFrozen, kEmaOf };

/// A network that takes part in a stage (docs/glossary.md). The trainer builds it, and what a
/// checkpoint holds follows from the list of roles.
struct Role {
  std::string name;  // generator, teacher, fake_score, ...
  Training training = Training::kTrained;

  /// Of a moving average: the role it follows, as a copy of which it starts; the decay a step; and
  /// the first step at which it averages (before that it is the copy).
  std::string ema_of = {};
  double ema_decay = 0;
  int64_t ema_start_step = 0;

  /// Of a trained role: it is updated at steps that this divides. And its optimizer; none: the
  /// stage's section `optimizer`.
  int64_t update_every = 1;
  std::optional<OptimizerConfig> optimizer = {};

  /// The role whose weights it takes when init_from does not name it; empty: its own entry, or
  /// fresh weights.
  std::string same_weights_as = {};
  /// Why init_from must name it, to follow the objective's name in a message; empty: it need not.
  std::string must_start_from = {};

  /// Runs many passes between two changes of its weights: where these are cut over ranks and may
  /// be held (distributed.hold_weights), they stay gathered until they change.
  bool rolls_out = false;
  /// A dense bidirectional network of its own sizes: those of its weights, not of section `model`.
  bool is_score = false;
  /// False for a role that training only keeps up to date: the objective never calls its network.
  bool computes = true;
};

}  // namespace vmla::trainer
