#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

/// Layers that take one frame, [H, W, C], contiguous.
namespace vmla::model {

/// A convolution over height and width: weight [out, in, h, w] with the channels innermost in
/// memory, bias [out] or undefined, zeros around the frame.
at::Tensor conv_hw(const at::Tensor& x_HWC,
                   const at::Tensor& weight,
                   const at::Tensor& bias,
                   int64_t stride,
                   int64_t padding);

/// Twice the height and width, each position repeated.
at::Tensor twice_as_large(const at::Tensor& x_HWC);

/// A weight as conv_hw wants it, or [out, in] if its kernel has one position.
at::Tensor frame_weight(const at::Tensor& weight_OIhw);

}  // namespace vmla::model
