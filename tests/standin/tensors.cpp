// How tensors of the stand-in device are made, viewed, copied and read.
#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/native/ForeachUtils.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>

#include "tests/standin/device.h"
#include "tests/standin/graph.h"
#include "tests/standin/pinned_memory.h"
#include "tests/standin/stream_order.h"
#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::CUDA);

at::Tensor empty(at::IntArrayRef sizes,
                 std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout>,
                 std::optional<at::Device> device,
                 std::optional<bool>,
                 std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  at::globalContext().lazyInitDevice(at::kCUDA);  // as CUDA's own does
  return at::detail::empty_generic(
      sizes, device_allocator(), kKeys, c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef sizes,
                         at::IntArrayRef strides,
                         std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>,
                         std::optional<at::Device> device,
                         std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  at::globalContext().lazyInitDevice(at::kCUDA);
  return at::detail::empty_strided_generic(
      sizes, strides, device_allocator(), kKeys, c10::dtype_or_default(dtype));
}

const at::Tensor& resize_(const at::Tensor& self,
                          at::IntArrayRef sizes,
                          std::optional<at::MemoryFormat>) {
  const c10::DeviceGuard guard(self.device());
  const size_t bytes = at::detail::computeStorageNbytesContiguous(
      sizes, self.dtype().itemsize(), static_cast<size_t>(self.storage_offset()));
  auto* const storage = self.storage().unsafeGetStorageImpl();
  if (bytes > storage->nbytes()) {
    if (storage->nbytes() > 0) refuse_while_recording("a tensor that grows");
    auto data = device_allocator()->allocate(bytes);
    if (storage->nbytes() > 0) {
      std::memcpy(host_of(data.get()), host_of(storage->data()), storage->nbytes());
    }
    storage->set_data_ptr_noswap(std::move(data));
    storage->set_nbytes(bytes);
  }
  self.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return self;
}

const char* begin_of(const at::Tensor& host) {
  return static_cast<const char*>(host.const_data_ptr());
}

/// Behind the last byte of a tensor without gaps; a strided one is copied with a wait in any case.
const char* end_of(const at::Tensor& host) {
  return begin_of(host) + host.nbytes();
}

// What the host waits for: every copy without `non_blocking`, and to ordinary memory every copy.
// From ordinary memory CUDA stages what is copied, and may wait for the stream first.
void copy_to_device(const at::Tensor& self, const at::Tensor& src, bool non_blocking) {
  refuse_while_recording("a copy from the host");
  const bool pinned = is_pinned(src.const_data_ptr());
  note(!non_blocking ? "h2d"
       : pinned      ? "h2d_async"
                     : "h2d_pageable",
       "copy_",
       static_cast<int64_t>(src.nbytes()));
  if (pinned) order_copies(self.get_device(), begin_of(src), end_of(src), Access::kReads);
  host_view(self, Access::kWrites).copy_(src);
  if (!non_blocking) {
    wait_for_current_stream(self.get_device());
  } else if (pinned && src.is_contiguous()) {
    copy_later(self.get_device(), src, src.clone(), false);
  }
}

void copy_to_host(const at::Tensor& self, const at::Tensor& src, bool non_blocking) {
  refuse_while_recording("a copy to the host");
  const bool later = non_blocking && is_pinned(self.const_data_ptr());
  note(later ? "d2h_async" : "d2h", "copy_", static_cast<int64_t>(src.nbytes()));
  if (later) {
    order_copies(src.get_device(), begin_of(self), end_of(self), Access::kWrites);
    at::Tensor values = at::empty_like(self, at::TensorOptions().pinned_memory(false));
    values.copy_(host_view(src));
    copy_later(src.get_device(), self, values, true);
    return;
  }
  self.copy_(host_view(src));
  wait_for_current_stream(src.get_device());
}

at::Tensor& copy_(at::Tensor& self, const at::Tensor& src, bool non_blocking) {
  const at::AutoDispatchBelowADInplaceOrView below;
  if (self.numel() == 0) return self;
  if (self.is_cuda() && src.is_cuda()) {
    if (self.device() != src.device()) note("peer", "copy_", static_cast<int64_t>(src.nbytes()));
    // The program's own copies are smaller than the ones by which it learns the device's rate, and
    // how many of these there are depends on the clock.
    constexpr size_t kRate = size_t{1} << 28;
    if (self.nbytes() < kRate) note_launch("copy_");
    const auto copy = [to = unowned(self), from = unowned(src)] {
      host_view(to, Access::kWrites).copy_(host_view(from));
    };
    copy();
    remember(copy);
  } else if (self.is_cuda()) {
    copy_to_device(self, src.expand_as(self), non_blocking);
  } else {
    copy_to_host(self, src, non_blocking);
  }
  return self;
}

/// One kernel where CUDA's has one: for dense tensors, of one dtype on each side.
void foreach_copy_(at::TensorList self, at::TensorList src, bool non_blocking) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const auto one_dtype = [](at::TensorList tensors) {
    return std::ranges::all_of(
        tensors, [&](const at::Tensor& t) { return t.dtype() == tensors[0].dtype(); });
  };
  if (!at::native::_check_tensors_share_device_and_dtype({self, src}, /*skip_dtype_check=*/true) ||
      !one_dtype(self) || !one_dtype(src) ||
      !at::native::_check_tensors_share_sizes_and_strides({self, src})) {
    for (size_t i = 0; i < self.size(); ++i) self[i].copy_(src[i], non_blocking);
    return;
  }
  note_launch("_foreach_copy_");
  for (size_t i = 0; i < self.size(); ++i) {
    const auto copy = [to = unowned(self[i]), from = unowned(src[i])] {
      host_view(to, Access::kWrites).copy_(host_view(from));
    };
    copy();
    remember(copy);
  }
}

at::Scalar local_scalar(const at::Tensor& self) {
  refuse_while_recording("a value that the host reads");
  note("item", "_local_scalar_dense", static_cast<int64_t>(self.nbytes()));
  wait_for_current_stream(self.get_device());
  return host_view(self).item();
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("view_as_real", TORCH_FN(at::native::view_as_real));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("unfold", TORCH_FN(at::native::unfold));
  m.impl("resize_", TORCH_FN(resize_));
  m.impl("copy_", TORCH_FN(copy_));
  m.impl("_foreach_copy_", TORCH_FN(foreach_copy_));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar));
}

}  // namespace
}  // namespace vmla::standin
