#pragma once

#include <ATen/core/Tensor.h>

namespace vmla::model {

/// What `make` returns, made once where there is a `slot` to keep it in.
template <class Make>
at::Tensor kept_or_made(at::Tensor* slot, const Make& make) {
  if (slot == nullptr) return make();
  if (!slot->defined()) *slot = make();
  return *slot;
}

}  // namespace vmla::model
