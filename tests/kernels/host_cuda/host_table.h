#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "kernels/cuda/kernel_table.h"

namespace vmla::tests::host_cuda {

/// The kernels of kernels/cuda on the CPU, as the table of libvmla_cuda.so has them
/// (kernels::use_kernels_on_cpu).
const kernels::cuda::KernelTable& host_table();

/// How often each function of the table has been called in this process.
std::map<std::string, int64_t> host_table_calls();

}  // namespace vmla::tests::host_cuda
