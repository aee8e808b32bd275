#include "trainer/distributed/collectives/host_staged_communicator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::distributed {
namespace {

at::Tensor host_space(const at::Tensor& tensor) {
  return at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
}

/// A copy in host memory, also of a tensor that lies there: the group may write into it.
at::Tensor staged(const at::Tensor& tensor) {
  const at::NoGradGuard no_grad;
  return host_space(tensor).copy_(tensor);
}

class HostStagedCommunicator final : public Communicator {
 public:
  explicit HostStagedCommunicator(std::unique_ptr<Communicator> host)
      : Communicator(host->name(), host->rank(), host->size()), host_(std::move(host)) {}

 private:
  /// When the host's part is there, `result` is copied to `device`.
  static Pending then_copy(Pending host, const at::Tensor& device, const at::Tensor& result) {
    return Pending([pending = std::make_shared<Pending>(std::move(host)), device, result] {
      pending->wait();
      const at::NoGradGuard no_grad;
      device.copy_(result);
    });
  }

  Pending start_all_reduce(const at::Tensor& values, ReduceOp op) override {
    const at::Tensor host = staged(values);
    return then_copy(host_->all_reduce(host, op), values, host);
  }

  Pending start_all_gather(const at::Tensor& whole, const at::Tensor& part) override {
    const at::Tensor host = host_space(whole);
    return then_copy(host_->all_gather(host, staged(part)), whole, host);
  }

  Pending start_reduce_scatter(const at::Tensor& part, const at::Tensor& whole) override {
    const at::Tensor host = host_space(part);
    return then_copy(host_->reduce_scatter(host, staged(whole)), part, host);
  }

  Pending start_all_to_all(const at::Tensor& received, const at::Tensor& sent) override {
    const at::Tensor host = host_space(received);
    return then_copy(host_->all_to_all(host, staged(sent)), received, host);
  }

  Pending start_broadcast(const at::Tensor& values, int64_t root) override {
    const at::Tensor host = staged(values);
    return then_copy(host_->broadcast(host, root), values, host);
  }

  Pending start_barrier() override {
    host_->barrier();
    return {};
  }

  std::unique_ptr<Communicator> host_;
};

}  // namespace

std::unique_ptr<Communicator> host_staged_communicator(std::unique_ptr<Communicator> host) {
  return std::make_unique<HostStagedCommunicator>(std::move(host));
}

}  // namespace vmla::distributed
