#include "model/codec/frame_layers.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>

#include <array>
#include <optional>

#include "kernels/dispatch.h"
#include "kernels/kernel_record.h"

namespace vmla::model {
namespace {

/// [1, C, H, W] whose channels lie innermost, which LibTorch convolves without copies. It knows
/// them by all four strides, so the dimension of 1 must have that of a whole picture.
at::Tensor picture(const at::Tensor& x_HWC) {
  return x_HWC.unsqueeze(0).permute({0, 3, 1, 2});
}

/// oneDNN's convolution that adds to what its output holds; none in a LibTorch without oneDNN.
const std::optional<c10::OperatorHandle>& adding_convolution() {
  static const auto operation =
      c10::Dispatcher::singleton().findSchema({"mkldnn::_convolution_pointwise_", "binary"});
  return operation;
}

void call_adding_convolution(const at::Tensor& out,
                             const at::Tensor& x,
                             const at::Tensor& weight,
                             const at::Tensor& bias) {
  const std::vector<int64_t> one = {1, 1};
  torch::jit::Stack stack = {out,
                             x,
                             weight,
                             bias.defined() ? c10::IValue(bias) : c10::IValue(),
                             one,  // padding, stride, dilation, groups
                             one,
                             one,
                             1,
                             "add",
                             1.0,
                             c10::IValue(),  // no function of the sum
                             c10::List<std::optional<at::Scalar>>(),
                             c10::IValue()};
  adding_convolution()->callBoxed(stack);
}

}  // namespace

at::Tensor conv_hw(const at::Tensor& x_HWC,
                   const at::Tensor& weight,
                   const at::Tensor& bias,
                   int64_t stride,
                   int64_t padding) {
  RECORD_FUNCTION(kernels::kKernelRecord, kernels::reading({x_HWC, weight, bias}));
  if (kernels::wants_sizes_only(x_HWC)) {
    const auto extent = [&](int64_t dim) {
      return (x_HWC.size(dim) + 2 * padding - weight.size(2 + dim)) / stride + 1;
    };
    return at::empty({extent(0), extent(1), weight.size(0)}, x_HWC.options());
  }
  return at::conv2d(picture(x_HWC), weight, bias, stride, padding)
      .squeeze(0)
      .permute({1, 2, 0})
      .contiguous();
}

void add_conv_3x3_(const at::Tensor& out_HWC,
                   const at::Tensor& x_HWC,
                   const at::Tensor& weight,
                   const at::Tensor& bias) {
  const bool adds = out_HWC.is_cpu() && out_HWC.scalar_type() == at::kFloat &&
                    at::globalContext().userEnabledMkldnn() && adding_convolution().has_value();
  if (adds) return call_adding_convolution(picture(out_HWC), picture(x_HWC), weight, bias);
  out_HWC.add_(conv_hw(x_HWC, weight, bias, /*stride=*/1, /*padding=*/1));
}

at::Tensor upsampled_conv(const at::Tensor& x_HWC,
                          const at::Tensor& kernels,
                          const at::Tensor& bias) {
  const int64_t height = x_HWC.size(0), width = x_HWC.size(1), channels = kernels.size(2);
  at::Tensor out = at::empty({height, 2, width, 2, channels}, x_HWC.options());
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t column = 0; column < 2; ++column) {
      // One row and column more than there are positions: zeros lie on both sides.
      const at::Tensor part =
          conv_hw(x_HWC, kernels[row][column], bias, /*stride=*/1, /*padding=*/1);
      out.select(1, row).select(2, column).copy_(
          part.narrow(0, row, height).narrow(1, column, width));
    }
  }
  return out.view({2 * height, 2 * width, channels});
}

at::Tensor upsampling_kernels(const at::Tensor& weight_OIhw) {
  // An output's three rows lie in two positions: the upper output's are one of the position above
  // and two of its own, the lower output's two of its own and one of the position below. So for
  // columns.
  const auto sums = [](const at::Tensor& kernel, int64_t dim) {
    const auto k = kernel.split(1, dim);
    return std::array{at::cat({k[0], k[1] + k[2]}, dim), at::cat({k[0] + k[1], k[2]}, dim)};
  };
  std::vector<at::Tensor> kernels;
  for (const at::Tensor& rows :
       sums(weight_OIhw.to(at::promote_types(weight_OIhw.scalar_type(), at::kFloat)), 2)) {
    for (const at::Tensor& kernel : sums(rows, 3)) {
      kernels.push_back(kernel.permute({0, 2, 3, 1}));  // channels innermost in memory
    }
  }
  return at::stack(kernels)
      .to(weight_OIhw.scalar_type())
      .permute({0, 1, 4, 2, 3})
      .unflatten(0, {2, 2});
}

at::Tensor frame_weight(const at::Tensor& weight_OIhw) {
  if (weight_OIhw.size(2) == 1 && weight_OIhw.size(3) == 1) return weight_OIhw.flatten(1).clone();
  return weight_OIhw.clone(at::MemoryFormat::ChannelsLast);
}

}  // namespace vmla::model
