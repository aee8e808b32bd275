#pragma once

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/sharding/unit_cut.h"

#include <functional>
#include <map>
#include <vector>

namespace vmla::distributed {

/// Units whose parts lie on the ranks of a group, gathered for the time they are in use. Every rank
/// makes the same calls in the same order.
///
/// The root stays from its first use until forget(); a block until it is released, unless units are
/// held or kept. One block may be on its way while another is in use (prefetch).
class GatheredUnits {
 public:
  struct Unit {
    std::vector<model::TensorSpec> layout;
    UnitCut cut;
  };
  /// This rank's part of a buffer of a unit: [cut] in the buffer's dtype.
  using OwnPart = std::function<at::Tensor(int64_t unit, const FlatBuffer& buffer)>;

  /// `keep`: released units stay until forget().
  GatheredUnits(Communicator& group, std::map<int64_t, Unit> units, OwnPart own, bool keep);

  std::vector<at::Tensor> acquire(int64_t unit);
  void release(int64_t unit);
  void prefetch(int64_t unit);
  void hold() { ++holds_; }
  void unhold();
  /// The parts have changed: nothing gathered is valid any more. No unit may be in use.
  void forget();

  const Unit& unit(int64_t unit) const { return units_.at(unit); }

 private:
  struct Slot {
    int64_t uses = 0;
    std::vector<at::Tensor> whole;  // one a buffer; empty: not here
    std::vector<Pending> arriving;
    std::vector<at::Tensor> tensors;  // views in visitor order, once it has arrived
  };
  void start(int64_t unit, Slot& slot);
  void drop_if_idle(int64_t unit, Slot& slot);

  Communicator& group_;
  std::map<int64_t, Unit> units_;
  OwnPart own_;
  bool keep_;
  int64_t holds_ = 0;
  std::map<int64_t, Slot> slots_;
};

}  // namespace vmla::distributed
