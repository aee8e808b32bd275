#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

/// Checks that take the device as an argument and need LibTorch alone, not even GoogleTest: they
/// are built and run on a machine with a GPU and without our other libraries.
namespace vmla::tests::gpu {

struct Check {
  std::string name;
  std::function<void(at::Device)> run;  // throws where something is wrong
};

/// Every operation against its reference, forward and backward.
std::vector<Check> kernel_checks();
/// The whole network against itself on the CPU in fp64, and masked against cached.
std::vector<Check> network_checks();
/// Videos whose passes are recorded and replayed, against the same ones computed.
std::vector<Check> sampling_checks();

/// The library's attention kernels of this device one by one: what segmented attention relies on.
std::vector<Check> backend_checks(at::Device device);

/// NCCL in a group of one. Call it after load_cuda(); empty if the module has no NCCL.
std::vector<Check> nccl_checks();

/// Throws unless max |actual - expected| <= tolerance * max |expected|, both read as fp64, and
/// shapes agree; the message names the worst element. NaN is never right.
void require_near(const std::string& what,
                  const at::Tensor& actual,
                  const at::Tensor& expected,
                  double tolerance);

/// Loads CUDA's kernels into this process, which links libtorch_cpu alone: our module where it lies
/// beside the program, else libtorch_cuda. Throws if neither can be loaded, or there is no GPU that
/// they can use. Returns whether our kernels are used.
bool load_cuda();

}  // namespace vmla::tests::gpu
