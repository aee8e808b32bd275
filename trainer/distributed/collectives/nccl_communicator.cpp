#include "trainer/distributed/collectives/nccl_communicator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "kernels/cuda_module.h"
#include "model/io/error.h"
#include "trainer/distributed/collectives/group_members.h"
#include "trainer/distributed/collectives/nccl_engine.h"

namespace vmla::distributed {
namespace {

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const std::string& name,
                   const std::vector<int64_t>& ranks,
                   int64_t rank,
                   std::unique_ptr<NcclEngine> engine)
      : Communicator(name, rank, static_cast<int64_t>(ranks.size()), ranks),
        engine_(std::move(engine)) {}

 private:
  /// Queues an operation of the engine on the device; `finish` is queued after it by the thread
  /// that waits. The engine's errors become CommErrors.
  Pending run(Collective collective,
              const std::function<NcclWork()>& start,
              std::function<void()> finish = nullptr) {
    const auto translated = [this, collective](const auto& work) {
      try {
        return work();
      } catch (const std::exception& error) {
        throw CommError(name(), collective, rank(), error.what());
      }
    };
    NcclWork work = translated(start);
    return Pending(
        [translated, wait = std::move(work.wait), finish = std::move(finish)] {
          translated(wait);
          const at::NoGradGuard no_grad;
          if (finish) finish();
        },
        std::move(work.is_done));
  }

  Pending start_all_reduce(const at::Tensor& values, ReduceOp op) override {
    const at::NoGradGuard no_grad;
    if (values.scalar_type() != at::kBFloat16)
      return run(Collective::kAllReduce, [&] { return engine_->all_reduce(values, op); });
    const at::Tensor exact = values.to(at::kFloat);
    return run(
        Collective::kAllReduce,
        [&] { return engine_->all_reduce(exact, op); },
        [values, exact] { values.copy_(exact); });
  }

  Pending start_all_gather(const at::Tensor& whole, const at::Tensor& part) override {
    return run(Collective::kAllGather, [&] { return engine_->all_gather(whole, part); });
  }

  Pending start_reduce_scatter(const at::Tensor& part, const at::Tensor& whole) override {
    const at::NoGradGuard no_grad;
    if (part.scalar_type() != at::kBFloat16)
      return run(Collective::kReduceScatter, [&] { return engine_->reduce_scatter(part, whole); });
    const at::Tensor sum = at::empty(part.sizes(), part.options().dtype(at::kFloat));
    return run(
        Collective::kReduceScatter,
        [&] { return engine_->reduce_scatter(sum, whole.to(at::kFloat)); },
        [part, sum] { part.copy_(sum); });
  }

  Pending start_all_to_all(const at::Tensor& received, const at::Tensor& sent) override {
    return run(Collective::kAllToAll, [&] { return engine_->all_to_all(received, sent); });
  }

  Pending start_broadcast(const at::Tensor& values, int64_t root) override {
    return run(Collective::kBroadcast, [&] { return engine_->broadcast(values, root); });
  }

  Pending start_barrier() override {
    return run(Collective::kBarrier, [&] {
      engine_->barrier();
      return NcclWork{.wait = [] {}, .is_done = [] { return true; }};
    });
  }

  std::unique_ptr<NcclEngine> engine_;
};

}  // namespace

std::unique_ptr<Communicator> nccl_communicator(Store& store,
                                                const std::string& name,
                                                const std::vector<int64_t>& ranks,
                                                int64_t rank,
                                                const NcclOptions& options) {
  const int64_t index = index_among(ranks, rank);
  if (ranks.size() == 1) return self_communicator(name);
  const auto make =
      reinterpret_cast<MakeNcclEngine>(kernels::cuda_module_function(kMakeNcclEngine));
  if (make == nullptr)
    fail_user("this build's CUDA module has no NCCL: configure again where nccl.h is found");
  const std::string key = group_key(store, "nccl", name, ranks, rank);
  try {
    auto engine = make({.store = &store.engine(),
                        .key = store.prefix() + key,
                        .rank = static_cast<int>(index),
                        .size = static_cast<int>(ranks.size()),
                        .device = static_cast<int>(options.device),
                        .timeout_seconds = options.timeout_seconds});
    return std::make_unique<NcclCommunicator>(name, ranks, index, std::move(engine));
  } catch (const std::exception& error) {
    throw CommError(
        name, Collective::kBarrier, index, formatted("the ranks cannot connect: {}", error.what()));
  }
}

}  // namespace vmla::distributed
