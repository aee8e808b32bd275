#include <ATen/ATen.h>

#include <unistd.h>

#include "kernels/cuda_module.h"
#include "tests/gpu/check.h"
#include "trainer/distributed/collectives/nccl_engine.h"
#include "trainer/distributed/job/network_address.h"
#include "trainer/distributed/job/store.h"

// NCCL with one process and one GPU: every operation goes through c10d, the streams and the events;
// only the network is missing. What a group of one gives is known: its own tensors.

namespace vmla::tests::gpu {
namespace {

using namespace vmla::distributed;

struct Group {
  int socket = listen_on(0);
  std::unique_ptr<Store> store = Store::serve({"127.0.0.1", port_of(socket)}, socket, "check/", 30);
  std::unique_ptr<NcclEngine> engine;

  explicit Group(at::Device device) {
    const auto make =
        reinterpret_cast<MakeNcclEngine>(kernels::cuda_module_function(kMakeNcclEngine));
    engine = make({.store = &store->engine(),
                   .key = "nccl/",
                   .rank = 0,
                   .size = 1,
                   .device = device.has_index() ? device.index() : 0,
                   .timeout_seconds = 30});
  }
};

at::Tensor numbers(at::ScalarType dtype, at::Device device) {
  return at::arange(2 * 1000, at::kDouble).sub(700).to(device, dtype);
}

void every_operation(at::Device device) {
  Group group(device);
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kInt}) {
    const at::Tensor given = numbers(dtype, device);
    const at::Tensor values = given.clone(), gathered = at::zeros_like(given);
    const at::Tensor part = at::zeros_like(given), received = at::zeros_like(given).view({1, -1});
    group.engine->all_reduce(values, ReduceOp::kSum).wait();
    group.engine->all_reduce(values, ReduceOp::kMax).wait();
    group.engine->broadcast(values, 0).wait();
    group.engine->all_gather(gathered, given).wait();
    group.engine->reduce_scatter(part, given).wait();
    group.engine->all_to_all(received, given.view({1, -1})).wait();
    for (const at::Tensor& result : {values, gathered, part, received.view(-1)})
      require_near("an operation of NCCL", result, given, 0);
  }
  const at::Tensor empty = at::empty({0}, at::TensorOptions(device));
  group.engine->all_reduce(empty, ReduceOp::kSum).wait();
  group.engine->barrier();
}

/// A gather reads what the stream wrote before it started, computation goes on beside it, and after
/// wait() the stream sees the result.
void overlap(at::Device device) {
  Group group(device);
  at::Tensor product = at::full({2048, 2048}, 1e-3, at::TensorOptions(device));
  std::vector<at::Tensor> results;
  for (int i = 1; i <= 20; ++i) {
    const at::Tensor part = at::full({1 << 20}, static_cast<double>(i), at::TensorOptions(device));
    const at::Tensor whole = at::zeros_like(part);
    const NcclWork work = group.engine->all_gather(whole, part);
    product = product.matmul(product);
    work.wait();
    results.push_back(whole.sum());
  }
  group.engine->barrier();
  const NcclWork last = group.engine->all_reduce(results[0], ReduceOp::kMax);
  last.wait();
  for (int i = 1; i <= 20; ++i)
    require_near("a gather beside a product",
                 results[static_cast<size_t>(i - 1)].cpu(),
                 at::full({}, static_cast<double>(i) * (1 << 20), at::kFloat),
                 0);
  TORCH_CHECK(last.is_done(), "an operation whose result was read is done");
}

}  // namespace

std::vector<Check> nccl_checks() {
  if (kernels::cuda_module_function(kMakeNcclEngine) == nullptr) return {};
  return {{"nccl: every operation in a group of one", every_operation},
          {"nccl: a gather beside the computation", overlap}};
}

}  // namespace vmla::tests::gpu
