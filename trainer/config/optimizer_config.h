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
  int64_t warmup_steps = 0;
  double min_lr_ratio = 0.0;

  bool operator==(const OptimizerConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("lr", c.lr, "learning rate of AdamW");
    v("betas",
      c.betas,
      "decay of the first and second moment; a first entry of 0 keeps no first moment");
    v("eps", c.eps, "added to the root of the second moment");
    v("weight_decay", c.weight_decay, "decoupled weight decay");
    v("max_grad_norm",
      c.max_grad_norm,
      "the global gradient norm is clipped to this; 0: not clipped");
    v("lr_schedule", c.lr_schedule, "constant, linear or cosine decay after the warm-up");
    v("warmup_steps", c.warmup_steps, "steps of linear warm-up from 0");
    v("min_lr_ratio", c.min_lr_ratio, "the decay ends at this fraction of lr");
  }
};

}  // namespace vmla::trainer
