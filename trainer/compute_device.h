#pragma once

#include <string>

namespace vmla::trainer {

/// Makes train.device usable: for "cuda" loads the CUDA module. To be called before anything asks
/// LibTorch about CUDA. UserError when this machine or this build cannot do it.
void prepare_device(const std::string& device);

}  // namespace vmla::trainer
