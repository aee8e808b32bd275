#pragma once

#include <cstdint>
#include <string>

namespace vmla::trainer {

/// The rate of a large matrix product on `device`, in TFLOP/s: the ceiling that `mfu` in the log is
/// relative to. On a CPU 512 x 512 in fp32 with the threads at hand, on a GPU 8192 x 8192 in bf16;
/// the best of a few.
double measure_gemm_tflops(const std::string& device);

/// The same, measured once a process, on the first device that is asked for.
double gemm_tflops(const std::string& device);

/// Model FLOP/s utilisation, `mfu` of the log: the share of the rate of `devices` devices like this
/// one that `tflops` TFLOP/s, those of all of them together, are. Each rank has one device; ranks
/// on one CPU have their threads. Above 1 where the work multiplies faster than gemm_tflops's
/// product.
double flops_utilisation(double tflops, int64_t devices, const std::string& device);

}  // namespace vmla::trainer
