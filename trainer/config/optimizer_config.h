#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace vmla::trainer {

/// AdamW of one trained role (docs/algorithms.md 11). With betas[0] = 0 the first moment is the
/// gradient itself and is not kept.
struct OptimizerConfig {
  double lr = 5e-6;
  std::array<double, 2> betas = {0.0, 0.999};
  double eps = 1e-8;
  double weight_decay = 0.01;
  double max_grad_norm = 10.0;
  std::string lr_schedule = "constant";
  int64_t schedule_steps = 0;
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0.0;

  bool operator==(const OptimizerConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("lr", c.lr, "peak learning rate; above 0");
    v("betas",
      c.betas,
      "decay of the first and of the second moment, each from 0 to below 1; at 0 no first moment "
      "is kept");
    v("eps", c.eps, "added to the root of the second moment; above 0");
    v("weight_decay",
      c.weight_decay,
      "decoupled weight decay: each step shrinks the weights by lr times this; 0 or more");
    v("max_grad_norm",
      c.max_grad_norm,
      "the norm of all gradients together is clipped to this; 0: no clipping");
    v("lr_schedule",
      c.lr_schedule,
      "after the warm-up: constant, or linear or cosine decay down to the end of the schedule");
    v("schedule_steps",
      c.schedule_steps,
      "step at which the decay ends, from where on the rate stays; 0: at train.steps, so that a "
      "stage that is made longer changes its rates");
    v("warmup_steps",
      c.warmup_steps,
      "optimizer steps over which the rate rises linearly to lr; 0 to the end of the schedule");
    v("min_lr_ratio", c.min_lr_ratio, "the decay ends at this share of lr; 0 to 1");
  }
};

}  // namespace vmla::trainer
