#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "trainer/distributed/collectives/communicator.h"

namespace c10d {
class Store;
}

/// What the program sees of NCCL. Only the module libvmla_cuda.so links it, and makes these
/// engines.
namespace vmla::distributed {

/// An operation of the engine that was queued on the device.
struct NcclWork {
  /// Makes the current stream wait for it; the host does not.
  std::function<void()> wait;
  /// Whether the device has come past it. From any thread. Throws where the group has failed.
  std::function<bool()> is_done;
};

/// One group of ranks, each with a GPU of its own; contiguous tensors on that GPU. An operation
/// waits for what the current stream holds when it is started, and runs on one stream that all
/// groups of a device share: so operations run beside the computation, in the order in which they
/// were started, which is the same on every rank. What they are given must live until `wait`.
/// Errors are c10::Error.
class NcclEngine {
 public:
  /// Leaves the group in order, unless an exception is on its way: then at once.
  virtual ~NcclEngine() = default;
  virtual NcclWork all_reduce(const at::Tensor& values, ReduceOp op) = 0;
  virtual NcclWork all_gather(const at::Tensor& whole, const at::Tensor& part) = 0;
  virtual NcclWork reduce_scatter(const at::Tensor& part, const at::Tensor& whole) = 0;
  virtual NcclWork all_to_all(const at::Tensor& received, const at::Tensor& sent) = 0;
  virtual NcclWork broadcast(const at::Tensor& values, int64_t root) = 0;
  /// Returns on the host when every rank has come.
  virtual void barrier() = 0;
};

struct NcclGroup {
  c10d::Store* store;  // outlives the group
  std::string key;     // where in the store this group may write
  int rank, size;      // in the group
  int device;          // index of the GPU
  double timeout_seconds;
};

/// The function of the module that makes an engine, and the name it is exported under.
using MakeNcclEngine = std::unique_ptr<NcclEngine> (*)(const NcclGroup& group);
constexpr const char* kMakeNcclEngine = "vmla_make_nccl_engine_1";

}  // namespace vmla::distributed
