#include "trainer/compute_device.h"

#include "kernels/cuda_module.h"
#include "model/io/error.h"

namespace vmla::trainer {

void prepare_device(const std::string& device) {
  if (device != "cuda") return;
  const std::string reason = kernels::load_cuda_module();
  if (!reason.empty()) fail_user("train.device: cuda: ", reason, "; use cpu");
}

}  // namespace vmla::trainer
