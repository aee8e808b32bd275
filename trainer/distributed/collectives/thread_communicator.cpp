#include "trainer/distributed/collectives/thread_communicator.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace vmla::distributed {
namespace {

/// Where the ranks of a group meet: each brings a tensor, and all go on once every rank has read
/// what it needs of the others'.
class Meeting {
 public:
  explicit Meeting(int64_t size) : tensors_(static_cast<size_t>(size)) {}

  /// Brings `mine`; `read` runs on this thread, beside those of the other ranks, when everybody's
  /// is there. Returns false when a rank has left.
  bool meet(int64_t rank,
            const at::Tensor& mine,
            const std::function<void(const std::vector<at::Tensor>&)>& read) {
    std::unique_lock lock(mutex_);
    tensors_[static_cast<size_t>(rank)] = mine;
    if (!pass(lock)) return false;
    lock.unlock();
    read(tensors_);
    lock.lock();
    return pass(lock);  // nobody's tensor may change before all have read it
  }

  void leave() {
    const std::scoped_lock lock(mutex_);
    left_ = true;
    changed_.notify_all();
  }

 private:
  /// A barrier. A rank that has left breaks it for those that wait or come later.
  bool pass(std::unique_lock<std::mutex>& lock) {
    const int64_t round = round_;
    if (++waiting_ == static_cast<int64_t>(tensors_.size())) {
      waiting_ = 0;
      ++round_;
      changed_.notify_all();
      return true;
    }
    changed_.wait(lock, [&] { return round_ != round || left_; });
    return round_ != round;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<at::Tensor> tensors_;
  int64_t waiting_ = 0;  // ranks that have come to the barrier
  int64_t round_ = 0;    // barriers that all have passed
  bool left_ = false;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::string name, int64_t rank, int64_t size, std::shared_ptr<Meeting> meeting)
      : Communicator(std::move(name), rank, size), meeting_(std::move(meeting)) {}
  ~ThreadCommunicator() override { meeting_->leave(); }

 private:
  using Tensors = std::vector<at::Tensor>;

  Pending exchange(Collective collective,
                   const at::Tensor& mine,
                   const std::function<void(const Tensors&)>& read) {
    const at::NoGradGuard no_grad;
    if (!meeting_->meet(rank(), mine, read))
      throw CommError(name(), collective, rank(), "a rank has left");
    return {};
  }

  Pending start_all_reduce(const at::Tensor& values, ReduceOp op) override {
    at::Tensor result;
    // Every rank adds up all tensors for itself, in rank order: the same bits on each. Into another
    // tensor, because the others still read this one.
    exchange(Collective::kAllReduce, values, [&](const Tensors& all) {
      result = all[0].clone();
      for (size_t i = 1; i < all.size(); ++i)
        op == ReduceOp::kSum ? result.add_(all[i]) : at::maximum_out(result, result, all[i]);
    }).wait();
    const at::NoGradGuard no_grad;
    values.copy_(result);
    return {};
  }

  Pending start_all_gather(const at::Tensor& whole, const at::Tensor& part) override {
    return exchange(Collective::kAllGather, part, [&](const Tensors& all) {
      const at::Tensor rows = whole.view({size(), -1});
      for (size_t i = 0; i < all.size(); ++i) {
        const at::Tensor row = rows[static_cast<int64_t>(i)];
        if (row.const_data_ptr() != all[i].const_data_ptr()) row.copy_(all[i].view(-1));
      }
    });
  }

  Pending start_reduce_scatter(const at::Tensor& part, const at::Tensor& whole) override {
    at::Tensor result;
    exchange(Collective::kReduceScatter, whole, [&](const Tensors& all) {
      for (const at::Tensor& one : all) {
        const at::Tensor mine = one.view({size(), -1})[rank()];
        result = result.defined() ? result.add_(mine) : mine.clone();
      }
    }).wait();
    const at::NoGradGuard no_grad;
    part.view(-1).copy_(result);
    return {};
  }

  Pending start_all_to_all(const at::Tensor& received, const at::Tensor& sent) override {
    return exchange(Collective::kAllToAll, sent, [&](const Tensors& all) {
      for (size_t i = 0; i < all.size(); ++i)
        received[static_cast<int64_t>(i)].copy_(all[i][rank()]);
    });
  }

  Pending start_broadcast(const at::Tensor& values, int64_t root) override {
    return exchange(Collective::kBroadcast, values, [&](const Tensors& all) {
      if (rank() != root) values.copy_(all[static_cast<size_t>(root)]);
    });
  }

  Pending start_barrier() override {
    return exchange(Collective::kBarrier, {}, [](const Tensors&) {});
  }

  std::shared_ptr<Meeting> meeting_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> thread_communicators(const std::string& name,
                                                                int64_t size) {
  const auto meeting = std::make_shared<Meeting>(size);
  std::vector<std::unique_ptr<Communicator>> group;
  for (int64_t rank = 0; rank < size; ++rank)
    group.push_back(std::make_unique<ThreadCommunicator>(name, rank, size, meeting));
  return group;
}

void on_threads(int64_t size, const std::function<void(Communicator& group)>& work) {
  auto group = thread_communicators("threads", size);
  std::vector<std::exception_ptr> errors(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < group.size(); ++rank) {
    threads.emplace_back([&, rank] {
      try {
        work(*group[rank]);
      } catch (...) {
        errors[rank] = std::current_exception();
        group[rank].reset();  // the others would wait for ever
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::exception_ptr victim;
  for (const std::exception_ptr& error : errors) {
    if (!error) continue;
    try {
      std::rethrow_exception(error);
    } catch (const CommError&) {
      if (!victim) victim = error;
    }
  }
  if (victim) std::rethrow_exception(victim);
}

}  // namespace vmla::distributed
