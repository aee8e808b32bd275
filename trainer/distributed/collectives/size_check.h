#pragma once

#include <cstdint>
#include <string>

#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

/// Tells over the store, before a collective starts, that a rank came with another one or with
/// another size: Gloo would end the process from a thread of its own. Slow (a few store operations
/// a rank and collective), so it is there for debugging alone.
class SizeCheck {
 public:
  /// `key`: where this set of ranks may write; `group`: its name. `store` outlives it.
  SizeCheck(Store& store,
            std::string key,
            std::string group,
            int64_t rank,
            int64_t size,
            double timeout_seconds);

  /// Every rank of the group calls it, in the same order. RunError on all ranks, naming two whose
  /// `what` differs; StoreError when a rank does not come within the timeout.
  void same(const std::string& what);

 private:
  std::string key_of(int64_t sequence, int64_t rank) const;

  Store& store_;
  std::string key_, group_;
  int64_t rank_, size_;
  double timeout_seconds_;
  int64_t sequence_ = 0;
};

}  // namespace vmla::distributed
