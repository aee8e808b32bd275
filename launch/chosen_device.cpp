#include "launch/chosen_device.h"

#include "trainer/compute_device.h"

namespace vmla::launch {

ChosenDevice open_device(const ComputeArgs& args, std::optional<int64_t> local_rank) {
  trainer::prepare_device(args.device, "--device");
  if (local_rank && args.device == "cuda")
    trainer::use_gpu_of_rank(*local_rank, /*shared=*/false, "--device");
  trainer::check_kernels_on(args.device);
  return {c10::Device(args.device),
          args.precision == "bf16" ? c10::ScalarType::BFloat16 : c10::ScalarType::Float};
}

}  // namespace vmla::launch
