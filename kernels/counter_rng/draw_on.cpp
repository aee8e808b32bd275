#include "kernels/counter_rng/draw_on.h"

#include <ATen/ATen.h>

#include "kernels/counter_rng/pack_key.h"
#include "kernels/cuda_dispatch.h"

namespace vmla::kernels {
namespace {

at::Tensor draw_cuda(cuda::Kernel<cuda::DrawParams> draw,
                     at::Device device,
                     const DrawKey& key,
                     at::IntArrayRef sizes) {
  at::Tensor out = at::empty(sizes, at::TensorOptions().device(device).dtype(at::kFloat));
  draw({.key = pack_key(key), .out = out.mutable_data_ptr<float>(), .count = out.numel()},
       out.get_device());
  return out;
}

}  // namespace

at::Tensor normal_on(at::Device device, const DrawKey& key, at::IntArrayRef sizes) {
  const cuda::KernelTable* kernels = cuda_kernels();
  if (kernels != nullptr && device.is_cuda())
    return draw_cuda(kernels->normals, device, key, sizes);
  return normal(key, sizes).to(device);
}

at::Tensor uniform_on(at::Device device, const DrawKey& key, at::IntArrayRef sizes) {
  const cuda::KernelTable* kernels = cuda_kernels();
  if (kernels != nullptr && device.is_cuda()) {
    return draw_cuda(kernels->uniforms, device, key, sizes);
  }
  return uniform(key, sizes).to(device);
}

}  // namespace vmla::kernels
