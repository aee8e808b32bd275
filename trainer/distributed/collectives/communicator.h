#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/distributed/job/peer_error.h"

/// Groups of ranks and the collectives between them. One engine a translation unit: threads of one
/// process, c10d's Gloo and NCCL, tensors staged through the host's memory, and a dry one that only
/// counts.
namespace vmla::distributed {

enum class Collective {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kAllToAll,
  kBroadcast,
  kBarrier,
};
constexpr size_t kCollectives = 6;
/// "all_reduce", ...
std::string_view collective_name(Collective collective);

enum class ReduceOp { kSum, kMax };

/// A collective failed: a peer is gone, or did not come within the timeout. The group can be used
/// no more.
class CommError : public PeerError {
 public:
  /// `rank`: who noticed it, by its number in the group.
  CommError(const std::string& group, Collective collective, int64_t rank, const std::string& why);
  Collective collective;
  int64_t rank;
};

/// A collective under way. The tensors that it was given must not be touched before wait(), which
/// must be called: the destructor waits too, but swallows errors. Belongs to the thread of its
/// communicator, and must not outlive it.
class [[nodiscard]] Pending {
 public:
  Pending() = default;  // nothing to wait for
  /// `is_done`, for an engine whose wait() only queues: whether the device has come past the
  /// collective. Callable from any thread.
  explicit Pending(std::function<void()> wait, std::function<bool()> is_done = nullptr)
      : wait_(std::move(wait)), is_done_(std::move(is_done)) {}
  Pending(Pending&& other) noexcept
      : wait_(std::exchange(other.wait_, nullptr)), is_done_(std::move(other.is_done_)) {}
  Pending& operator=(Pending&& other) noexcept;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending();

  /// Returns when the result is there; on a GPU, when the current stream is sure to see it.
  /// CommError.
  void wait();
  const std::function<bool()>& is_done() const { return is_done_; }

 private:
  std::function<void()> wait_;
  std::function<bool()> is_done_;
};

/// What went over a communicator since it was made or reset. Bytes are the least that a rank of n
/// can send: (n-1)/n of the whole tensor for all_gather and reduce_scatter, twice that for
/// all_reduce, (n-1)/n of the local tensor for all_to_all, and for broadcast (n-1)/n of the tensor,
/// one rank's share of the n-1 copies. They are arithmetic, not packets: equal on every engine.
struct CommCounters {
  struct Entry {
    int64_t calls = 0;
    double bytes = 0;
  };
  std::array<Entry, kCollectives> by_kind = {};
  /// How long this rank stood waiting, and how long collectives were under way, from their start to
  /// the end of wait(): what of that was not waited for is hidden behind computation.
  double exposed_seconds = 0;
  double busy_seconds = 0;
  const Entry& of(Collective collective) const { return by_kind[static_cast<size_t>(collective)]; }
  int64_t calls() const;
  double bytes() const;
  CommCounters& operator+=(const CommCounters& other);
};

class CollectiveLog;

/// A group of ranks, as one of them sees it. All ranks of a group call the same operations in the
/// same order with tensors of equal sizes and dtypes. Tensors are contiguous. Only one thread of a
/// rank uses a communicator; its counters are not guarded.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  const std::string& name() const { return name_; }
  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }

  /// In place: the sum (or the greatest) over the ranks, the same bits on each.
  Pending all_reduce(const at::Tensor& values, ReduceOp op = ReduceOp::kSum);
  /// whole [size * n] <- the ranks' parts [n], in rank order.
  Pending all_gather(const at::Tensor& whole, const at::Tensor& part);
  /// part [n] <- the rank's part of the sum over the ranks of whole [size * n]. `whole` may be
  /// overwritten.
  Pending reduce_scatter(const at::Tensor& part, const at::Tensor& whole);
  /// received [size, ...] <- row `rank` of every rank's sent [size, ...].
  Pending all_to_all(const at::Tensor& received, const at::Tensor& sent);
  /// `values` of rank `root` on every rank.
  Pending broadcast(const at::Tensor& values, int64_t root);
  /// Returns when every rank has come.
  void barrier();

  /// Records every collective from now on in `log`, which any thread may read.
  void set_log(std::shared_ptr<CollectiveLog> log);

  const CommCounters& counters() const { return counters_; }
  void reset_counters() { counters_ = {}; }

 protected:
  /// `members`: the group's ranks by their numbers in the job, for the log; empty: all of them.
  Communicator(std::string name, int64_t rank, int64_t size, std::vector<int64_t> members = {});

 private:
  // The engine: starts the operation and returns what waits for it. Groups of one never get here.
  virtual Pending start_all_reduce(const at::Tensor& values, ReduceOp op) = 0;
  virtual Pending start_all_gather(const at::Tensor& whole, const at::Tensor& part) = 0;
  virtual Pending start_reduce_scatter(const at::Tensor& part, const at::Tensor& whole) = 0;
  virtual Pending start_all_to_all(const at::Tensor& received, const at::Tensor& sent) = 0;
  virtual Pending start_broadcast(const at::Tensor& values, int64_t root) = 0;
  virtual Pending start_barrier() = 0;

  Pending counted(Collective collective, double bytes, const std::function<Pending()>& start);
  double others() const;

  std::string name_;
  int64_t rank_, size_;
  std::vector<int64_t> members_;
  int64_t sequence_ = 0;  // collectives started so far
  CommCounters counters_;
  std::shared_ptr<CollectiveLog> log_;
};

/// The group of one, which sends nothing.
std::unique_ptr<Communicator> self_communicator(std::string name);

}  // namespace vmla::distributed
