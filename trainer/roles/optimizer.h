#pragma once

#include "model/weights/local_weights.h"
#include "trainer/checkpoint/checkpoint_pieces.h"
#include "trainer/config/train_config.h"

#include <cstdint>
#include <map>

namespace vmla::trainer {

/// Learning rate of the update after `step` earlier ones: linear warm-up, then constant, linear or
/// cosine decay to min_lr_ratio at `total_steps`.
double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total_steps);

/// Squared L2 norm over all gradient buffers of this process, summed in fp64: [], where they are.
at::Tensor squared_gradient_norm(model::TrainedWeights& weights);

/// Factor that brings a gradient of norm `norm` (fp64 []) to at most `max_norm`; 1 when max_norm is
/// 0. fp32 [], not finite where `norm` or `loss` (fp64 []) is not.
at::Tensor clip_factor(const at::Tensor& norm, const at::Tensor& loss, double max_norm);

/// AdamW over the flat buffers of a role. With beta1 = 0 no first moment is kept
/// (docs/algorithms.md 11.1).
class AdamW {
 public:
  /// `on_host`: the moments stay in the host's memory and are where the weights are only during the
  /// update of their unit.
  AdamW(const OptimizerConfig& config, model::TrainedWeights& weights, bool on_host = false);

  /// One update with learning rate `lr`, gradients multiplied by `grad_scale` (fp32 []); no weight
  /// changes where that is not finite.
  void step(model::TrainedWeights& weights, double lr, const at::Tensor& grad_scale);

  /// `exp_avg_sq/<tensor>` and, unless beta1 is 0, `exp_avg/<tensor>`, of what this process holds:
  /// views, for a checkpoint.
  PieceMap state(const model::TrainedWeights& weights) const;
  /// Goes on after so many updates, once state() was filled with what was saved then.
  void resume_after(int64_t updates) { updates_ = updates; }

  int64_t updates() const { return updates_; }

 private:
  struct Moments {
    at::Tensor exp_avg, exp_avg_sq;  // [n], the first undefined when beta1 = 0
  };
  OptimizerConfig config_;
  int64_t updates_ = 0;
  std::map<int64_t, Moments> moments_;  // by unit
};

/// average <- decay * average + (1 - decay) * weights, over the flat buffers.
void update_ema(model::TrainedWeights& average, model::TrainedWeights& weights, double decay);

}  // namespace vmla::trainer
