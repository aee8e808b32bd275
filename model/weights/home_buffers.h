#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

namespace vmla::model {

/// Where weights, or what trains them, lie while they are not in use, and the device that uses
/// them.
struct Home {
  // What is not offloaded lies where it is used.
  Home(at::DeviceType type) : Home(at::Device(type)) {}
  Home(at::Device device) : lies(device), used(device) {}
  /// In the host's memory (distributed.offload). A plan's tensors, which are on the meta device,
  /// stay there.
  static Home offloaded_from(at::Device device);

  at::Device lies, used;
  bool offloaded = false;
};

/// `tensor`, which lies at `home`, on the device that uses it: the tensor itself or, of what is
/// offloaded, a copy, made in the order of the current stream and without a wait of the host where
/// the tensor is page-locked.
at::Tensor brought(const at::Tensor& tensor, const Home& home);

/// Waits for the current stream, and so for the copies that brought() has queued there: what they
/// read may go then. For destructors.
void finish_bringing(const Home& home) noexcept;

/// Makes flat buffers at a home. Those which a GPU reads out of the host's memory are page-locked
/// where the system permits, and have their exact size; it must have read and written them before
/// they go.
class HomeBuffers {
 public:
  /// `what` stands for the buffers, in the plural, in a message.
  HomeBuffers(const Home& home, std::string what);

  /// [numel]. RunError where the host has no memory for it.
  at::Tensor zeros(int64_t numel, at::ScalarType dtype);
  /// The same for the caller to fill.
  at::Tensor empty(int64_t numel, at::ScalarType dtype);

 private:
  Home home_;
  std::string what_;
  bool said_ = false;  // that pages could not be locked
};

}  // namespace vmla::model
