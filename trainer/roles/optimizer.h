#pragma once

#include "kernels/adamw/adamw.h"
#include "model/weights/local_weights.h"
#include "model/weights/uploaded_weights.h"
#include "trainer/checkpoint/checkpoint_pieces.h"
#include "trainer/config/train_config.h"
#include "trainer/roles/host_shuttle.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace vmla::trainer {

/// Learning rate of the step after `step` finished ones (docs/algorithms.md 11.2): rises linearly
/// over warmup_steps to lr, then stays, or falls linearly or as a cosine to lr * min_lr_ratio at
/// schedule_steps (0: at `total_steps`, the stage's), where it stays. Steps are those of the stage,
/// also for a player that not every step updates.
double learning_rate(const OptimizerConfig& config, int64_t step, int64_t total_steps);

/// Squared L2 norm over all gradient buffers of this process: fp64 [], on their device. The norm of
/// each unit's buffer is computed in the gradients' dtype; its square and the sum over units are
/// fp64.
at::Tensor squared_gradient_norm(model::TrainedWeights& weights);

/// The factor min(1, max_norm / norm) that gradients of norm `norm` (fp64 []) are multiplied by; 1
/// where max_norm is 0. fp32 [], on the norm's device; not finite where `norm` or `loss` (fp64 [])
/// is not, and then AdamW writes nothing.
at::Tensor clip_factor(const at::Tensor& norm, const at::Tensor& loss, double max_norm);

/// A moving average that follows weights of which it holds the same parts: average <- decay average
/// + (1 - decay) weights.
struct MovingAverage {
  model::TrainedWeights& weights;
  double decay;  // 0 makes it a copy
  /// Of an average in the host's memory: what lends it to the GPU that moves it, and, unless it is
  /// cut over ranks, its copies there.
  HostShuttle* shuttle = nullptr;
  model::UploadedWeights* uploaded = nullptr;
};

/// The first of `averages` that lies on the device of `weights`; null: none does.
const MovingAverage* average_beside(model::TrainedWeights& weights,
                                    const std::vector<MovingAverage>& averages);

/// Moves an average. One in the host's memory is there when its shuttle has been waited for.
void update_average(const MovingAverage& average, model::TrainedWeights& weights);

/// Bytes that update_average() takes on the weights' device for an average in the host's memory.
int64_t room_to_move(model::TrainedWeights& average);

/// AdamW over the flat buffers of a role, of which this process may hold a part (docs/algorithms.md
/// 11.1). With beta1 = 0 the first moment is the gradient, and none is kept.
class AdamW {
 public:
  /// `on_host`: the moments stay in the host's memory, page-locked where the system permits, and
  /// are on the weights' device for the update of their unit alone (distributed.offload).
  AdamW(const OptimizerConfig& config, model::TrainedWeights& weights, bool on_host = false);

  /// One update with learning rate `lr` of gradients multiplied by `grad_scale` (fp32 [], on their
  /// device). In the same pass over memory: copies in the compute dtype where there are any, and
  /// `average`, which lies on the weights' device (average_beside), with its own copies. Nothing is
  /// written where grad_scale is not finite, without the host having to look at it.
  void step(model::TrainedWeights& weights,
            double lr,
            const at::Tensor& grad_scale,
            const MovingAverage* average = nullptr);

  /// `exp_avg_sq/<tensor>` and, unless beta1 is 0, `exp_avg/<tensor>`: what this process holds, as
  /// views of the moments. A checkpoint is written from them and read into them. Moments in the
  /// host's memory are waited for.
  PieceMap state(const model::TrainedWeights& weights) const;
  /// Goes on after so many updates, of which bias correction depends, once state() was filled with
  /// the moments that were saved then.
  void resume_after(int64_t updates) { updates_ = updates; }

  int64_t updates() const { return updates_; }

  /// Bytes that step() takes on the weights' device for moments which lie in the host's memory.
  int64_t room_for_moments() const { return room_for_moments_; }

 private:
  struct Moments {
    at::Tensor exp_avg, exp_avg_sq;  // [n] as the unit's master; exp_avg undefined for beta1 = 0
  };
  using UpdateUnit = std::function<void(int64_t unit, Moments& moments)>;
  std::vector<HostShuttle::Group> groups() const;
  void with_moments_from_host(const UpdateUnit& update);
  OptimizerConfig config_;
  int64_t updates_ = 0, room_for_moments_ = 0;
  std::map<int64_t, Moments> moments_;    // by unit
  std::unique_ptr<HostShuttle> shuttle_;  // of moments in the host's memory, for a GPU
};

}  // namespace vmla::trainer
