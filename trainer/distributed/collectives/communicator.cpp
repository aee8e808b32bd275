#include "trainer/distributed/collectives/communicator.h"

#include "model/io/error.h"

#include <ATen/ATen.h>

#include <utility>

#include "trainer/distributed/collectives/collective_log.h"
#include "trainer/distributed/collectives/dry_communicator.h"
#include "trainer/distributed/job/clock.h"

namespace vmla::distributed {
namespace {

double bytes_of(const at::Tensor& tensor) {
  return static_cast<double>(tensor.nbytes());
}

void expect_contiguous(const at::Tensor& tensor, const char* what) {
  TORCH_CHECK(tensor.defined() && tensor.is_contiguous(), what, " must be a contiguous tensor");
}

/// Checks the whole and the part of a gathered or scattered tensor.
void expect_parts(const at::Tensor& whole, const at::Tensor& part, int64_t size) {
  expect_contiguous(whole, "the whole");
  expect_contiguous(part, "the part");
  TORCH_CHECK(whole.numel() == part.numel() * size && whole.scalar_type() == part.scalar_type(),
              "a whole of ",
              size,
              " parts of ",
              part.numel(),
              " elements, given: ",
              whole.numel());
}

}  // namespace

std::string_view collective_name(Collective collective) {
  switch (collective) {
    case Collective::kAllReduce:
      return "all_reduce";
    case Collective::kAllGather:
      return "all_gather";
    case Collective::kReduceScatter:
      return "reduce_scatter";
    case Collective::kAllToAll:
      return "all_to_all";
    case Collective::kBroadcast:
      return "broadcast";
    case Collective::kBarrier:
      return "barrier";
  }
  return "?";
}

CommError::CommError(const std::string& group,
                     Collective kind,
                     int64_t noticed_by,
                     const std::string& why)
    : PeerError(
          formatted("{} of group {}, rank {}: {}", collective_name(kind), group, noticed_by, why)),
      collective(kind),
      rank(noticed_by) {}

Pending& Pending::operator=(Pending&& other) noexcept {
  std::swap(wait_, other.wait_);
  std::swap(is_done_, other.is_done_);
  return *this;
}

Pending::~Pending() {
  try {
    wait();
  } catch (...) {  // a destructor cannot say it: the rank unwinds already, or needs no result
  }
}

void Pending::wait() {
  if (const auto wait = std::exchange(wait_, nullptr)) wait();
}

int64_t CommCounters::calls() const {
  int64_t sum = 0;
  for (const Entry& entry : by_kind) sum += entry.calls;
  return sum;
}

double CommCounters::bytes() const {
  double sum = 0;
  for (const Entry& entry : by_kind) sum += entry.bytes;
  return sum;
}

CommCounters& CommCounters::operator+=(const CommCounters& other) {
  for (size_t i = 0; i < by_kind.size(); ++i) {
    by_kind[i].calls += other.by_kind[i].calls;
    by_kind[i].bytes += other.by_kind[i].bytes;
  }
  exposed_seconds += other.exposed_seconds;
  busy_seconds += other.busy_seconds;
  return *this;
}

Communicator::Communicator(std::string name,
                           int64_t rank,
                           int64_t size,
                           std::vector<int64_t> members)
    : name_(std::move(name)), rank_(rank), size_(size), members_(std::move(members)) {
  TORCH_CHECK(size >= 1 && rank >= 0 && rank < size, "rank ", rank, " of ", size);
}

void Communicator::set_log(std::shared_ptr<CollectiveLog> log) {
  log_ = std::move(log);
  if (log_) log_->set_members(name_, members_);
}

/// What of a tensor goes to others, where a rank of n keeps 1/n of it: (n-1)/n.
double Communicator::others() const {
  return static_cast<double>(size_ - 1) / static_cast<double>(size_);
}

/// Starts the operation, and counts and records it and the time until its result was waited for.
Pending Communicator::counted(Collective collective,
                              double bytes,
                              const std::function<Pending()>& start) {
  auto& entry = counters_.by_kind[static_cast<size_t>(collective)];
  ++entry.calls;
  entry.bytes += bytes;
  ++sequence_;
  const int64_t ticket = log_ ? log_->started(name_, collective, sequence_, bytes) : 0;
  const auto began = Clock::now();
  const auto noting_failure = [log = log_, ticket](const auto& work) {
    try {
      work();
    } catch (...) {
      if (log) log->failed(ticket);
      throw;
    }
  };
  auto pending = std::make_shared<Pending>();
  noting_failure([&] { *pending = start(); });
  counters_.exposed_seconds += seconds_since(began);
  return Pending([this, began, pending, noting_failure, log = log_, ticket] {
    const auto waiting = Clock::now();
    if (log) log->awaited(ticket);
    noting_failure([&] { pending->wait(); });
    if (log) log->finished(ticket, pending->is_done());
    counters_.exposed_seconds += seconds_since(waiting);
    counters_.busy_seconds += seconds_since(began);
  });
}

Pending Communicator::all_reduce(const at::Tensor& values, ReduceOp op) {
  expect_contiguous(values, "values");
  if (size_ == 1) return {};
  return counted(Collective::kAllReduce, 2 * others() * bytes_of(values), [&] {
    return start_all_reduce(values, op);
  });
}

Pending Communicator::all_gather(const at::Tensor& whole, const at::Tensor& part) {
  expect_parts(whole, part, size_);
  if (size_ == 1) {
    if (whole.const_data_ptr() != part.const_data_ptr()) whole.view(-1).copy_(part.view(-1));
    return {};
  }
  return counted(Collective::kAllGather, static_cast<double>(size_ - 1) * bytes_of(part), [&] {
    return start_all_gather(whole, part);
  });
}

Pending Communicator::reduce_scatter(const at::Tensor& part, const at::Tensor& whole) {
  expect_parts(whole, part, size_);
  if (size_ == 1) {
    if (whole.const_data_ptr() != part.const_data_ptr()) part.view(-1).copy_(whole.view(-1));
    return {};
  }
  return counted(Collective::kReduceScatter, static_cast<double>(size_ - 1) * bytes_of(part), [&] {
    return start_reduce_scatter(part, whole);
  });
}

Pending Communicator::all_to_all(const at::Tensor& received, const at::Tensor& sent) {
  expect_contiguous(received, "received");
  expect_contiguous(sent, "sent");
  TORCH_CHECK(sent.size(0) == size_ && received.sizes() == sent.sizes(),
              "all_to_all of ",
              size_,
              " ranks, given: ",
              sent.sizes());
  if (size_ == 1) {
    received.copy_(sent);
    return {};
  }
  return counted(Collective::kAllToAll, others() * bytes_of(sent), [&] {
    return start_all_to_all(received, sent);
  });
}

Pending Communicator::broadcast(const at::Tensor& values, int64_t root) {
  expect_contiguous(values, "values");
  TORCH_CHECK(root >= 0 && root < size_, "root ", root, " of ", size_);
  if (size_ == 1) return {};
  return counted(Collective::kBroadcast, others() * bytes_of(values), [&] {
    return start_broadcast(values, root);
  });
}

void Communicator::barrier() {
  if (size_ == 1) return;
  counted(Collective::kBarrier, 0, [&] { return start_barrier(); }).wait();
}

std::unique_ptr<Communicator> self_communicator(std::string name) {
  return dry_communicator(std::move(name), 0, 1);
}

}  // namespace vmla::distributed
