#pragma once

#include <cstdint>
#include <string>

#include "trainer/distributed/job/store.h"

namespace vmla::distributed {

/// Compares over the store, before a collective starts, what each rank comes with: Gloo would end
/// the process, from a thread of its own, when ranks bring different collectives or sizes. Slow (a
/// few store operations a rank and collective), so it is there for debugging alone.
class SizeCheck {
 public:
  struct Group {
    std::string name;
    std::string key;  // where in the store this group may write
    int64_t rank;     // of this process in the group
    int64_t size;
    double timeout_seconds;
  };
  /// `store` outlives it.
  SizeCheck(Store& store, Group group) : store_(store), group_(std::move(group)) {}

  /// Every rank of the group calls it, in the same order. RunError on all ranks, naming two whose
  /// `what` differs; StoreError when a rank does not come within the timeout.
  void same(const std::string& what);

 private:
  std::string key_of(int64_t sequence, int64_t rank) const;

  Store& store_;
  Group group_;
  int64_t sequence_ = 0;  // of the collective that is compared, from 1
};

}  // namespace vmla::distributed
