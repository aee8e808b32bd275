#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

/// Streams of whatever accelerator is loaded, without its library at link time.
namespace vmla::kernels {

/// The stream that this thread's operations on the device are queued in.
c10::Stream current_stream(c10::Device device);
/// One for work beside it, out of LibTorch's pool.
c10::Stream side_stream(c10::Device device);

}  // namespace vmla::kernels
