#include "launch/chosen_device.h"

#include "trainer/compute_device.h"

namespace vmla::launch {

namespace {

ChosenDevice checked(const ComputeArgs& args) {
  trainer::check_kernels_on(args.device);
  return {c10::Device(args.device),
          args.precision == "bf16" ? c10::ScalarType::BFloat16 : c10::ScalarType::Float};
}

}  // namespace

ChosenDevice open_device(const ComputeArgs& args) {
  trainer::prepare_device(args.device, "--device");
  return checked(args);
}

ChosenDevice open_device_of_rank(const ComputeArgs& args, int64_t local_rank) {
  trainer::prepare_device(args.device, "--device");
  if (args.device == "cuda") trainer::use_gpu_of_rank(local_rank, /*shared=*/false, "--device");
  return checked(args);
}

}  // namespace vmla::launch
