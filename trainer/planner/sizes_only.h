#pragma once

namespace vmla::trainer {

/// Makes a training step run on tensors of the meta device, which have sizes and no data: registers
/// the operators that LibTorch implements for that device in Python alone, once for the whole
/// process. Such a step makes and drops the tensors that the real one does, so that it shows what
/// memory the real one needs, in no time and with no memory. A number read from such a tensor
/// (item()) is 0, so a step must not branch on one.
void allow_sizes_only_steps();

}  // namespace vmla::trainer
