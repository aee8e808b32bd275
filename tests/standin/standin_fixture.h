#pragma once

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "kernels/cuda_module.h"

/// Tests on the stand-in accelerator, opened in the test's own process.
namespace vmla::standin {

inline const at::Device kGpu(at::kCUDA, 0);

/// The module, opened once, with two devices.
inline const kernels::cuda::KernelTable& module() {
  static const kernels::OpenedModule opened = [] {
    setenv("STANDIN_DEVICES", "2", 1);
    return kernels::open_cuda_module(STANDIN_MODULE);
  }();
  TORCH_CHECK(opened.problem.empty(), opened.problem);
  return *opened.table;
}

class Standin : public testing::Test {
 protected:
  void SetUp() override { module(); }
  // What one test leaves unfinished is no other's.
  void TearDown() override { guard().synchronizeDevice(kGpu.index()); }

  static at::Tensor numbers() { return at::arange(12, at::kFloat).view({3, 4}).to(kGpu); }
  static c10::impl::VirtualGuardImpl guard() { return c10::impl::VirtualGuardImpl(at::kCUDA); }
  /// A stream that is not the default one.
  static c10::Stream side() { return guard().getStreamFromGlobalPool(kGpu); }
  static at::Tensor pinned() {
    return at::empty({12}, at::TensorOptions(at::kFloat).pinned_memory(true));
  }
};

/// The message of what `work` throws; empty where it does not.
template <class Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return {};
}

}  // namespace vmla::standin
