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

/// Groups of ranks and what they say to each other. The engines are c10d's; one translation unit
/// each.
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

/// A collective failed: a peer is gone, or did not come within the timeout. The group cannot be
/// used any more.
class CommError : public PeerError {
 public:
  CommError(const std::string& group, Collective collective, int64_t rank, const std::string& why);
  Collective collective;
  int64_t rank;  // who noticed, in the group
};

/// A collective under way. The tensors it was given must not be touched before wait(), which must
/// be called (the destructor waits too, and swallows what went wrong).
class [[nodiscard]] Pending {
 public:
  Pending() = default;  // nothing to wait for
  /// `is_done`, where wait() returns before the device is there: whether it is. From any thread.
  explicit Pending(std::function<void()> wait, std::function<bool()> is_done = nullptr)
      : wait_(std::move(wait)), is_done_(std::move(is_done)) {}
  Pending(Pending&& other) noexcept
      : wait_(std::exchange(other.wait_, nullptr)), is_done_(std::move(other.is_done_)) {}
  Pending& operator=(Pending&& other) noexcept;
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;
  ~Pending();

  /// Returns when the result is there (on a GPU: when the current stream will see it). CommError.
  void wait();
  const std::function<bool()>& is_done() const { return is_done_; }

 private:
  std::function<void()> wait_;
  std::function<bool()> is_done_;
};

/// What went over a communicator since it was made or reset. Bytes are those that a rank must send
/// at least, of n in the group: (n-1)/n of the whole tensor for all_gather and reduce_scatter,
/// twice that for all_reduce, (n-1)/n of the local tensor for all_to_all, and for broadcast the
/// share of one rank of the (n-1) copies. So they are arithmetic, not packets, and equal on every
/// engine.
struct CommCounters {
  struct Entry {
    int64_t calls = 0;
    double bytes = 0;
  };
  std::array<Entry, kCollectives> by_kind = {};
  double exposed_seconds = 0;  // this rank stood waiting
  double busy_seconds = 0;     // from start to the end of wait(), added up: exposed and hidden
  const Entry& of(Collective collective) const { return by_kind[static_cast<size_t>(collective)]; }
  int64_t calls() const;
  double bytes() const;
  CommCounters& operator+=(const CommCounters& other);
};

class CollectiveLog;

/// A group of ranks, as one of them sees it. All ranks of a group call the same operations in the
/// same order with tensors of equal sizes and dtypes; one thread a rank. Tensors are contiguous.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  const std::string& name() const { return name_; }
  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }

  /// In place: the sum (or greatest) over the ranks, the same bits on each.
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

  /// From now on the collectives are written down there too.
  void set_log(std::shared_ptr<CollectiveLog> log);

  const CommCounters& counters() const { return counters_; }
  void reset_counters() { counters_ = {}; }

 protected:
  /// `members`: the group's ranks among those of the job, where somebody wants to know.
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

  std::string name_;
  int64_t rank_, size_;
  std::vector<int64_t> members_;
  int64_t sequence_ = 0;  // collectives started
  CommCounters counters_;
  std::shared_ptr<CollectiveLog> log_;
};

/// The group of one: nothing goes anywhere.
std::unique_ptr<Communicator> self_communicator(std::string name);

}  // namespace vmla::distributed
