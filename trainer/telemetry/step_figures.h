#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

/// One player's last update.
struct PlayerFigures {
  double loss = 0;       // mean over the batch
  double grad_norm = 0;  // global, before clipping
  double lr = 0;
  std::map<std::string, double> metrics;  // of the objective
  bool updated = false;                   // in the last step
};

/// The last step's figures, for the log and the summary.
struct StepFigures {
  std::map<std::string, PlayerFigures> players;  // trained roles
  double seconds = 0;
  std::map<std::string, double> phase_seconds;  // StepTimer::phases
  int64_t tensor_peak_bytes = 0;                // the most that tensors held during the step
  double validation_loss = 0;                   // of the last validation
  std::vector<double> validation_by_time;
  int64_t validated_step = -1;  // after which that was; -1: none in this process

  /// The generator's; 0 before its first update.
  double loss() const {
    const auto generator = players.find("generator");
    return generator == players.end() ? 0 : generator->second.loss;
  }
};

/// True at multiples of `every` and at the last step; never when `every` is 0.
inline bool due(int64_t every, int64_t step, int64_t last_step) {
  return every > 0 && (step % every == 0 || step == last_step);
}

}  // namespace vmla::trainer
