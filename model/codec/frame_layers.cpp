#include "model/codec/frame_layers.h"

#include <ATen/ATen.h>

namespace vmla::model {

at::Tensor conv_hw(const at::Tensor& x_HWC,
                   const at::Tensor& weight,
                   const at::Tensor& bias,
                   int64_t stride,
                   int64_t padding) {
  // A picture whose channels lie innermost, which LibTorch convolves without copies.
  const at::Tensor picture = x_HWC.permute({2, 0, 1}).unsqueeze(0);
  return at::conv2d(picture, weight, bias, stride, padding)
      .squeeze(0)
      .permute({1, 2, 0})
      .contiguous();
}

at::Tensor twice_as_large(const at::Tensor& x_HWC) {
  const int64_t height = x_HWC.size(0), width = x_HWC.size(1), channels = x_HWC.size(2);
  return x_HWC.view({height, 1, width, 1, channels})
      .expand({height, 2, width, 2, channels})
      .reshape({2 * height, 2 * width, channels});
}

at::Tensor frame_weight(const at::Tensor& weight_OIhw) {
  if (weight_OIhw.size(2) == 1 && weight_OIhw.size(3) == 1) return weight_OIhw.flatten(1).clone();
  return weight_OIhw.clone(at::MemoryFormat::ChannelsLast);
}

}  // namespace vmla::model
