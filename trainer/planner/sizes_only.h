#pragma once

namespace vmla::trainer {

/// Makes a training step run on tensors of the meta device, which have sizes and no data: what
/// LibTorch implements for that device only in Python is added here. Such a step makes and drops
/// the tensors that the real one does, so it tells how much memory that one needs, at no cost. A
/// number read from such a tensor is 0.
void allow_sizes_only_steps();

}  // namespace vmla::trainer
