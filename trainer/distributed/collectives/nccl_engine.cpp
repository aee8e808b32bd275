// A part of the module libvmla_cuda.so: c10d's NCCL, in one translation unit.
#define USE_C10D_NCCL

#include "trainer/distributed/collectives/nccl_engine.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <chrono>
#include <exception>
#include <map>
#include <mutex>
#include <stdexcept>

namespace vmla::distributed {
namespace {

using Group = c10::intrusive_ptr<c10d::ProcessGroupNCCL>;

// c10d ends the process when an operation is late. Its timeout is this much longer than ours, so
// that our watchdog comes first, which names the missing rank.
constexpr double kLaterSeconds = 60;

/// The one stream of a device on which all groups' operations run.
c10::cuda::CUDAStream group_stream(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::cuda::CUDAStream> streams;
  const std::scoped_lock lock(mutex);
  const auto found = streams.find(device);
  if (found != streams.end()) return found->second;
  const auto made = c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device);
  return streams.emplace(device, made).first->second;
}

class C10dNcclEngine final : public NcclEngine {
 public:
  explicit C10dNcclEngine(const NcclGroup& group)
      : device_(static_cast<c10::DeviceIndex>(group.device)), stream_(group_stream(device_)) {
    auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
    options->timeout = std::chrono::milliseconds(
        static_cast<int64_t>((group.timeout_seconds + kLaterSeconds) * 1e3));
    group_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::make_intrusive<c10d::PrefixStore>(
            group.key, c10::intrusive_ptr<c10d::Store>::reclaim_copy(group.store)),
        group.rank,
        group.size,
        options);
    const at::Device device(at::kCUDA, device_);
    group_->setBoundDeviceId(device);
    const c10::cuda::CUDAGuard guard(device_);
    group_->eagerConnectSingleDevice(device);
    flag_ = at::zeros({1}, at::TensorOptions(device).dtype(at::kInt));
  }

  ~C10dNcclEngine() override {
    try {
      if (failed_ || std::uncaught_exceptions() > 0) {
        group_->abort();
      } else {
        group_->shutdown();
      }
    } catch (const std::exception&) {  // the process leaves the group either way
    }
  }

  NcclWork all_reduce(const at::Tensor& values, ReduceOp op) override {
    return queue({values}, [&] {
      std::vector<at::Tensor> tensors{values.detach()};
      c10d::AllreduceOptions options;
      options.reduceOp = op == ReduceOp::kSum ? c10d::ReduceOp::SUM : c10d::ReduceOp::MAX;
      options.asyncOp = false;
      return group_->allreduce(tensors, options);
    });
  }

  NcclWork all_gather(const at::Tensor& whole, const at::Tensor& part) override {
    return queue({whole, part}, [&] {
      at::Tensor out = whole.detach().view(-1), in = part.detach().view(-1);
      return group_->_allgather_base(out, in, synchronous<c10d::AllgatherOptions>());
    });
  }

  NcclWork reduce_scatter(const at::Tensor& part, const at::Tensor& whole) override {
    return queue({part, whole}, [&] {
      at::Tensor out = part.detach().view(-1), in = whole.detach().view(-1);
      return group_->_reduce_scatter_base(out, in, synchronous<c10d::ReduceScatterOptions>());
    });
  }

  NcclWork all_to_all(const at::Tensor& received, const at::Tensor& sent) override {
    return queue({received, sent}, [&] {
      at::Tensor out = received.detach(), in = sent.detach();
      std::vector<int64_t> even;
      return group_->alltoall_base(out, in, even, even, synchronous<c10d::AllToAllOptions>());
    });
  }

  NcclWork broadcast(const at::Tensor& values, int64_t root) override {
    return queue({values}, [&] {
      std::vector<at::Tensor> tensors{values.detach()};
      auto options = synchronous<c10d::BroadcastOptions>();
      options.rootRank = root;
      return group_->broadcast(tensors, options);
    });
  }

  void barrier() override {
    all_reduce(flag_, ReduceOp::kMax).wait();
    const c10::cuda::CUDAGuard guard(device_);
    stream_.synchronize();
  }

 private:
  /// Options with which c10d queues on the current stream, and returns nothing to wait for.
  template <class Options>
  static Options synchronous() {
    Options options;
    options.asyncOp = false;
    return options;
  }

  /// Queues an operation on the groups' stream, behind what the current stream holds now.
  NcclWork queue(std::vector<at::Tensor> tensors,
                 const std::function<c10::intrusive_ptr<c10d::Work>()>& start) {
    const c10::cuda::CUDAGuard device_guard(device_);
    const at::NoGradGuard no_grad;
    const bool empty = tensors.front().numel() == 0;
    auto done = std::make_shared<at::cuda::CUDAEvent>();
    try {
      at::cuda::CUDAEvent ready;
      ready.record(c10::cuda::getCurrentCUDAStream(device_));
      ready.block(stream_);
      const c10::cuda::CUDAStreamGuard stream_guard(stream_);
      if (!empty) {
        if (const auto work = start()) work->wait();
      }
      done->record(stream_);
    } catch (...) {
      failed_ = true;
      throw;
    }
    // LibTorch's allocator reuses freed memory in the order of the current stream, which knows
    // nothing of ours: so the tensors are kept until the current stream waits for the operation.
    return {.wait =
                [done, device = device_, tensors = std::move(tensors)] {
                  done->block(c10::cuda::getCurrentCUDAStream(device));
                },
            .is_done =
                [done, group = c10::weak_intrusive_ptr<c10d::ProcessGroupNCCL>(group_)] {
                  if (done->query()) return true;
                  // The end of a peer is an error of the group, of which the stream learns nothing:
                  // it stands still. c10d would end the process a minute later, and name nobody.
                  const Group living = group.lock();
                  if (living && living->getError() != c10d::ErrorType::SUCCESS)
                    throw std::runtime_error("NCCL lost a peer or failed");
                  return false;
                }};
  }

  c10::DeviceIndex device_;
  c10::cuda::CUDAStream stream_;
  Group group_;
  at::Tensor flag_;
  bool failed_ = false;
};

}  // namespace
}  // namespace vmla::distributed

extern "C" __attribute__((visibility("default"))) std::unique_ptr<vmla::distributed::NcclEngine>
vmla_make_nccl_engine_1(const vmla::distributed::NcclGroup& group) {
  return std::make_unique<vmla::distributed::C10dNcclEngine>(group);
}
