#pragma once

#include <cstdint>

#include "kernels/element.h"

namespace vmla::kernels {

/// Dense buffers of `count` elements.
struct GeluParams {
  Element element;
  const void* x;
  void* y;
  int64_t count;
};

struct GeluBackwardParams {
  Element element;
  const void* grad_y;
  const void* x;
  void* grad_x;
  int64_t count;
};

}  // namespace vmla::kernels
