#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "trainer/config/optimizer_config.h"

namespace vmla::trainer {

/// What becomes of a role's weights during a stage: an optimizer changes them, nothing changes
/// them, or they follow another role as an exponential moving average.
enum class Training { kTrained, kFrozen, kEmaOf };

/// A network that takes part in a stage (docs/glossary.md). An objective's traits list them; the
/// trainer builds them, and what a checkpoint holds follows from the list.
struct Role {
  /// generator, teacher, fake_score, ...: the key under init_from, the role's name in a checkpoint,
  /// and part of the address of its draws.
  std::string name;
  Training training = Training::kTrained;

  /// Of a moving average: the role that it follows and as a copy of which it starts.
  std::string ema_of = {};
  bool follows(const std::string& role) const {
    return training == Training::kEmaOf && ema_of == role;
  }
  /// average <- decay average + (1 - decay) weights, after each update of `ema_of`.
  double ema_decay = 0;
  /// The first step at which it averages; before that it is a copy.
  int64_t ema_start_step = 0;

  /// Of a trained role: it is updated when step % update_every == 0.
  int64_t update_every = 1;
  bool is_updated_at(int64_t step) const {
    return training == Training::kTrained && step % update_every == 0;
  }
  /// Of a trained role: its optimizer; none: the stage's section `optimizer`.
  std::optional<OptimizerConfig> optimizer = {};

  /// The role whose weights it starts from when init_from does not name it; empty: it is drawn at
  /// random then.
  std::string same_weights_as = {};
  /// Why init_from must name it: the second half of the error that begins with the objective's
  /// name ("starts from a model trained with ..."). Empty: init_from need not name it.
  std::string must_start_from = {};

  /// It runs many passes between two changes of its weights. Where these are cut over ranks and may
  /// be held (distributed.hold_weights), they stay gathered until they change.
  bool rolls_out = false;
  /// What its passes without gradient are called in logs: "rollout", "scores", ... Empty: training
  /// makes none.
  std::string passes = {};
  /// A dense bidirectional network with sizes of its own: those of its weights' files, not those of
  /// the section `model`.
  bool is_score = false;
  /// False for a role that training only keeps up to date, such as generator_ema: no training pass
  /// runs its network, so it needs no copies in the compute dtype.
  bool computes = true;
};

}  // namespace vmla::trainer
