#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace vmla::model {

/// While one is alive, shows a function what each self-attention of this thread's forwards is
/// given: x [B, L, D], normalised and modulated, all frames of the sequence. For measures of a
/// network as it stands, which nothing between a forward and its blocks need know of. One at a time
/// a thread.
class AttentionTap {
 public:
  using Look = std::function<void(int64_t layer, const at::Tensor& x_BLD)>;

  explicit AttentionTap(Look look);
  ~AttentionTap();
  AttentionTap(const AttentionTap&) = delete;
  AttentionTap& operator=(const AttentionTap&) = delete;

  /// Called by the block.
  static void show(int64_t layer, const at::Tensor& x_BLD);

 private:
  Look look_;
};

}  // namespace vmla::model
