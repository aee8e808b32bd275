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

/// Adds a 3 x 3 convolution of `x`, with zeros around it, to `out`: weight [out, in, 3, 3], any
/// strides. In fp32 on the CPU it takes no memory of `out`'s size.
void add_conv_3x3_(const at::Tensor& out_HWC,
                   const at::Tensor& x_HWC,
                   const at::Tensor& weight,
                   const at::Tensor& bias);

/// A 3 x 3 convolution of `x` at twice its height and width, each position repeated: [2H, 2W, out].
/// `kernels`: upsampling_kernels(); bias [out] or undefined. The large picture is never made
/// (docs/algorithms.md 17.2).
at::Tensor upsampled_conv(const at::Tensor& x_HWC,
                          const at::Tensor& kernels,
                          const at::Tensor& bias);

/// The four kernels [2, 2, out, in, 2, 2], by row and column of an output within its position,
/// whose outputs are those of the 3 x 3 convolution upsampled_conv() stands for.
at::Tensor upsampling_kernels(const at::Tensor& weight_OIhw);

/// A weight as conv_hw wants it, or [out, in] if its kernel has one position.
at::Tensor frame_weight(const at::Tensor& weight_OIhw);

}  // namespace vmla::model
