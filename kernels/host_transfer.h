#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::kernels {

/// `host`, a tensor on the CPU, on `device`. To a GPU it goes through pinned memory, in the order
/// of the current stream and without a wait of the host, which may change or free its tensor at
/// once, unless that is pinned itself. A tensor that is elsewhere, or shall stay, is only moved as
/// at::Tensor::to() does.
at::Tensor upload(const at::Tensor& host, at::Device device);

}  // namespace vmla::kernels
