#include "trainer/distributed/collectives/size_check.h"

#include "model/io/error.h"

namespace vmla::distributed {

std::string SizeCheck::key_of(int64_t sequence, int64_t rank) const {
  return formatted("{}sizes/{}/{}", group_.key, sequence, rank);
}

void SizeCheck::same(const std::string& what) {
  ++sequence_;
  store_.set(key_of(sequence_, group_.rank), what);
  std::string of_first;
  for (int64_t rank = 0; rank < group_.size; ++rank) {
    const auto other = store_.wait_for(key_of(sequence_, rank), group_.timeout_seconds);
    if (!other)
      throw StoreError(formatted("rank {} of group {} did not come to {} (#{}) within {:g} s",
                                 rank,
                                 group_.name,
                                 what,
                                 sequence_,
                                 group_.timeout_seconds),
                       false);
    if (rank == 0) of_first = *other;
    if (*other != of_first)
      fail_run("collective #{} of group {}: rank {} came with {}, rank 0 with {}",
               sequence_,
               group_.name,
               rank,
               *other,
               of_first);
  }
  // All ranks have reached this collective, so all have read what was stored for the previous one:
  // it can be deleted.
  store_.erase(key_of(sequence_ - 1, group_.rank));
}

}  // namespace vmla::distributed
