// LibTorch carries Gloo inside and exports c10d's classes over it; only their headers are hidden
// behind this.
#define USE_C10D_GLOO

#include "trainer/distributed/collectives/gloo_communicator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <future>

#include "model/io/error.h"
#include "trainer/distributed/collectives/group_members.h"
#include "trainer/distributed/collectives/size_check.h"
#include "trainer/distributed/job/abandonable_thread.h"
#include "trainer/distributed/job/clock.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

using Group = c10::intrusive_ptr<c10d::ProcessGroupGloo>;
using Work = c10::intrusive_ptr<c10d::Work>;

/// The first line of what Gloo or c10d says, without the place in their source that it starts with.
std::string reason_of(const std::exception& error) {
  std::string text = error.what();
  text = text.substr(0, text.find('\n'));
  const size_t place = text.find("] ");
  return text.starts_with('[') && place != std::string::npos ? text.substr(place + 2) : text;
}

c10d::ReduceOp::RedOpType engine_op(ReduceOp op) {
  return op == ReduceOp::kSum ? c10d::ReduceOp::SUM : c10d::ReduceOp::MAX;
}

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(const std::string& name,
                   const std::vector<int64_t>& ranks,
                   int64_t rank,
                   Group group,
                   std::unique_ptr<SizeCheck> check)
      : Communicator(name, rank, static_cast<int64_t>(ranks.size()), ranks),
        group_(std::move(group)),
        check_(std::move(check)) {}

 private:
  /// Starts an operation of the engine, which runs on the group's thread; `finish` runs after it,
  /// on the thread that waits. The engine's errors become CommErrors.
  Pending run(Collective collective,
              const std::function<Work()>& start,
              std::function<void()> finish = nullptr) {
    const auto translated = [this, collective](const auto& work) {
      try {
        return work();
      } catch (const std::exception& error) {
        throw CommError(name(), collective, rank(), reason_of(error));
      }
    };
    const Work work = translated(start);
    return Pending([translated, work, finish = std::move(finish)] {
      translated([&] { work->wait(); });
      const at::NoGradGuard no_grad;
      if (finish) finish();
    });
  }

  /// Compares what the ranks come with, if that was asked for.
  void check(Collective collective, const at::Tensor& tensor = {}, int64_t root = -1) {
    if (!check_) return;
    std::string what(collective_name(collective));
    if (tensor.defined()) what += formatted(" of {} {}", tensor.numel(), tensor.scalar_type());
    if (root >= 0) what += formatted(" from {}", root);
    check_->same(what);
  }

  Work all_reduce_now(at::Tensor values, ReduceOp op) {
    std::vector<at::Tensor> tensors{std::move(values)};
    c10d::AllreduceOptions options;
    options.reduceOp = engine_op(op);
    return group_->allreduce(tensors, options);
  }

  Pending start_all_reduce(const at::Tensor& given, ReduceOp op) override {
    check(Collective::kAllReduce, given);
    const at::NoGradGuard no_grad;
    const at::Tensor values = given.detach();
    if (values.scalar_type() != at::kBFloat16)
      return run(Collective::kAllReduce, [&] { return all_reduce_now(values, op); });
    const at::Tensor exact = values.to(at::kFloat);  // summed there, rounded once
    return run(
        Collective::kAllReduce,
        [&] { return all_reduce_now(exact, op); },
        [values, exact] { values.copy_(exact); });
  }

  Pending start_all_gather(const at::Tensor& given, const at::Tensor& part) override {
    check(Collective::kAllGather, part);
    const at::NoGradGuard no_grad;
    at::Tensor whole = given.detach().view(-1), mine = part.detach().view(-1);
    return run(Collective::kAllGather, [&] { return group_->_allgather_base(whole, mine); });
  }

  /// Each rank is sent its part by every other rank and adds them up in the order of the ranks.
  /// Gloo's own reduce_scatter sends twice as many bytes and takes twice as long; here bf16 travels
  /// as it is and is summed in fp32.
  Pending start_reduce_scatter(const at::Tensor& given, const at::Tensor& whole) override {
    check(Collective::kReduceScatter, given);
    const at::NoGradGuard no_grad;
    const at::Tensor part = given.detach();
    at::Tensor sent = whole.detach().view({size(), -1}), received = at::empty_like(sent);
    std::vector<int64_t> even;  // empty: all rows have one size
    return run(
        Collective::kReduceScatter,
        [&] { return group_->alltoall_base(received, sent, even, even); },
        [part, received, ranks = size()] {
          const bool is_bf16 = received.scalar_type() == at::kBFloat16;
          const at::Tensor sum = is_bf16 ? received[0].to(at::kFloat) : received[0];
          for (int64_t i = 1; i < ranks; ++i) sum.add_(received[i]);
          part.view(-1).copy_(sum);
        });
  }

  Pending start_all_to_all(const at::Tensor& given, const at::Tensor& sent) override {
    check(Collective::kAllToAll, sent);
    const at::NoGradGuard no_grad;
    at::Tensor received = given.detach(), mine = sent.detach();
    std::vector<int64_t> even;
    return run(Collective::kAllToAll,
               [&] { return group_->alltoall_base(received, mine, even, even); });
  }

  Pending start_broadcast(const at::Tensor& values, int64_t root) override {
    check(Collective::kBroadcast, values, root);
    std::vector<at::Tensor> tensors{values.detach()};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return run(Collective::kBroadcast, [&] { return group_->broadcast(tensors, options); });
  }

  Pending start_barrier() override {
    check(Collective::kBarrier);
    return run(Collective::kBarrier, [&] { return group_->barrier(); });
  }

  Group group_;
  std::unique_ptr<SizeCheck> check_;
};

/// Connects the members. On a thread that can be abandoned: c10d waits for ever for a store that is
/// stopped.
Group connect_members(
    Store& store, const std::string& key, int64_t rank, int64_t size, const GlooOptions& options) {
  auto engine = c10::intrusive_ptr<c10d::Store>::reclaim_copy(&store.engine());
  auto prefixed = c10::make_intrusive<c10d::PrefixStore>(store.prefix() + key, std::move(engine));
  auto engine_options = c10d::ProcessGroupGloo::Options::create();
  engine_options->timeout = milliseconds(options.timeout_seconds);
  engine_options->threads = 1;  // collectives run one at a time, in the order of their start
  engine_options->devices.push_back(
      options.interface.empty()
          ? c10d::ProcessGroupGloo::createDeviceForHostname(options.address)
          : c10d::ProcessGroupGloo::createDeviceForInterface(options.interface));
  constexpr double kMoreSeconds = 5;  // Gloo's own timeout comes first, and says more
  AbandonableThread thread;
  std::future<Group> group = thread.run<Group>(
      [=] {
        return c10::make_intrusive<c10d::ProcessGroupGloo>(
            prefixed, static_cast<int>(rank), static_cast<int>(size), engine_options);
      },
      options.timeout_seconds + kMoreSeconds);
  if (!group.valid()) throw StoreError("the job's store has not answered", false);
  return group.get();
}

}  // namespace

GlooOptions gloo_options(const RankEnvironment& environment,
                         const GetEnvironment& get,
                         double timeout_seconds) {
  GlooOptions options;
  options.timeout_seconds = timeout_seconds;
  const char* interface = get("GLOO_SOCKET_IFNAME");
  if (interface != nullptr) options.interface = interface;
  if (options.interface.empty())
    options.address = own_address(environment.master_addr, environment.nodes);
  const char* check = get("VMLA_CHECK_COLLECTIVES");
  options.check_sizes = check != nullptr && std::string_view(check) == "1";
  return options;
}

std::unique_ptr<Communicator> gloo_communicator(Store& store,
                                                const std::string& name,
                                                const std::vector<int64_t>& ranks,
                                                int64_t rank,
                                                const GlooOptions& options) {
  const int64_t index = index_among(ranks, rank), size = static_cast<int64_t>(ranks.size());
  if (size == 1) return self_communicator(name);
  const std::string key = group_key(store, "gloo", name, ranks, rank);
  Group group;
  try {
    group = connect_members(store, key, index, size, options);
  } catch (const std::exception& error) {
    throw CommError(name,
                    Collective::kBarrier,
                    index,
                    formatted("the ranks cannot connect: {}", reason_of(error)));
  }
  close_sockets_on_exec();
  std::unique_ptr<SizeCheck> check;
  if (options.check_sizes) {
    check =
        std::make_unique<SizeCheck>(store,
                                    SizeCheck::Group{.name = name,
                                                     .key = key,
                                                     .rank = index,
                                                     .size = size,
                                                     .timeout_seconds = options.timeout_seconds});
  }
  return std::make_unique<GlooCommunicator>(name, ranks, index, std::move(group), std::move(check));
}

}  // namespace vmla::distributed
