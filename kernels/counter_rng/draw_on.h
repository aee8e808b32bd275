#pragma once

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::kernels {

/// normal() and uniform() of counter_rng.h, on `device`: drawn there by the CUDA module where it is
/// loaded, else on the CPU and copied. Uniforms have the same bits either way, normals are within 2
/// units in the last place.
at::Tensor normal_on(at::Device device, const DrawKey& key, at::IntArrayRef sizes);
at::Tensor uniform_on(at::Device device, const DrawKey& key, at::IntArrayRef sizes);

}  // namespace vmla::kernels
