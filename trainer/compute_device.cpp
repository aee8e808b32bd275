#include "trainer/compute_device.h"

#include "kernels/attention/gpu_attention.h"
#include "kernels/attention/sdpa_backend.h"
#include "kernels/cuda_module.h"
#include "kernels/gpu_driver.h"
#include "kernels/kernel_choice.h"
#include "kernels/kernel_self_check.h"
#include "model/io/error.h"
#include "model/io/log.h"

#include <ATen/DeviceAccelerator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <string_view>

namespace vmla::trainer {

void prepare_device(const std::string& device, const std::string& option) {
  if (device != "cuda") return;
  const std::string reason = kernels::load_cuda_module();
  if (!reason.empty()) fail_user("{}: cuda: {}; use cpu", option, reason);
}

int64_t use_gpu_of_rank(int64_t local_rank, bool shared, const std::string& option) {
  const c10::impl::VirtualGuardImpl gpus(c10::DeviceType::CUDA);
  const int64_t count = gpus.deviceCount();
  // Who starts the ranks may show each of them a GPU of its own (CUDA_VISIBLE_DEVICES).
  const bool one_each = count == 1 && !shared;
  const int64_t index = one_each ? 0 : shared && count > 0 ? local_rank % count : local_rank;
  if (index >= count) {
    fail_user(
        "{}: cuda: this is local rank {}, and the machine shows {} GPUs; start at most that many "
        "ranks on it{}",
        option,
        local_rank,
        count,
        option == "train.device" ? ", or share them (distributed.backend: host_staged)" : "");
  }
  const std::string unusable =
      kernels::why_gpu_unusable(kernels::driver_answer(), kernels::cuda_build(), index);
  if (!unusable.empty()) {
    fail_user("{}: cuda: GPU {}: {}; CUDA_VISIBLE_DEVICES can hide it", option, index, unusable);
  }
  gpus.setDevice({c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index)});
  return index;
}

void use_kernels(const TrainConfig& config) {
  kernels::set_deterministic_backward(config.train.deterministic);
  KernelsConfig::fields(config.kernels, [](const char* name, const std::string& use, const char*) {
    for (const kernels::FusedOp op : kernels::kFusedOps) {
      if (std::string_view(kernels::name_of(op)) == name)
        kernels::set_kernel_use(op, *kernels::kernel_use_named(use));
    }
  });
}

void check_kernels_on(const std::string& device) {
  if (device != "cuda") return;
  const int64_t index = at::accelerator::getDeviceIndex();
  const std::string unusable =
      kernels::why_gpu_unusable(kernels::driver_answer(), kernels::cuda_build(), index);
  if (!unusable.empty())
    fail_user("device cuda: GPU {}: {}; CUDA_VISIBLE_DEVICES can hide it", index, unusable);
  for (const kernels::KernelVerdict& verdict : kernels::check_kernels(at::kCUDA)) {
    // As an error: warnings of ranks other than the lead are not shown.
    if (!verdict.problem.empty()) log::error(kernels::warning_of(verdict));
  }
}

void use_attention(const KernelsConfig& config, at::Device device) {
  using kernels::GpuAttention;
  kernels::set_gpu_attention(*kernels::gpu_attention_named(config.attention));
  if (!device.is_cuda() || kernels::gpu_attention() == GpuAttention::kFlash) return;
  const std::string problem = kernels::problem_of_gpu_attention(device);
  if (problem.empty()) return;
  kernels::set_gpu_attention(GpuAttention::kFlash);
  log::error("kernels.attention: cudnn: {}; flash runs instead", problem);
}

double device_memory() {
  const auto index = at::accelerator::getDeviceIndex();
  return static_cast<double>(at::accelerator::getMemoryInfo(index).second);
}

}  // namespace vmla::trainer
