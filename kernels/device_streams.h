#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

/// Streams of whatever accelerator is loaded, without its library at link time.
namespace vmla::kernels {

/// The stream that this thread's operations on the device are queued in.
c10::Stream current_stream(c10::Device device);
/// One for work beside it, out of LibTorch's pool.
c10::Stream side_stream(c10::Device device);

/// Waits for what is queued there, in a destructor, before memory goes that the device may still
/// use. A device where a kernel has faulted fails at every call and uses nothing any more; its
/// error is on its way already, so that none comes from here. While an error unwinds this waits
/// five seconds at most: what is queued may be waiting for a rank that is gone, and the error has
/// to get out.
void settle(const c10::Stream& stream) noexcept;

}  // namespace vmla::kernels
