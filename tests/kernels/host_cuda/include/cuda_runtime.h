#pragma once
// Stands in for CUDA's own header where kernels are compiled for the host.
#include "tests/kernels/host_cuda/cuda_language.h"
