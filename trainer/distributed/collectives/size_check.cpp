#include "trainer/distributed/collectives/size_check.h"

#include "model/io/error.h"

namespace vmla::distributed {

SizeCheck::SizeCheck(Store& store,
                     std::string key,
                     std::string group,
                     int64_t rank,
                     int64_t size,
                     double timeout_seconds)
    : store_(store),
      key_(std::move(key)),
      group_(std::move(group)),
      rank_(rank),
      size_(size),
      timeout_seconds_(timeout_seconds) {}

std::string SizeCheck::key_of(int64_t sequence, int64_t rank) const {
  return formatted("{}sizes/{}/{}", key_, sequence, rank);
}

void SizeCheck::same(const std::string& what) {
  ++sequence_;
  store_.set(key_of(sequence_, rank_), what);
  std::string of_first;
  for (int64_t rank = 0; rank < size_; ++rank) {
    const auto other = store_.wait_for(key_of(sequence_, rank), timeout_seconds_);
    if (!other)
      throw StoreError(formatted("rank {} of group {} did not come to {} (#{}) within {:g} s",
                                 rank,
                                 group_,
                                 what,
                                 sequence_,
                                 timeout_seconds_),
                       false);
    if (rank == 0) of_first = *other;
    if (*other != of_first)
      fail_run("collective #{} of group {}: rank {} came with {}, rank 0 with {}",
               sequence_,
               group_,
               rank,
               *other,
               of_first);
  }
  // Whoever came here has read everything of the collective before.
  store_.erase(key_of(sequence_ - 1, rank_));
}

}  // namespace vmla::distributed
