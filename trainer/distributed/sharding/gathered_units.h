#pragma once

#include "trainer/distributed/collectives/communicator.h"
#include "trainer/distributed/sharding/unit_cut.h"

#include <functional>
#include <map>
#include <vector>

namespace vmla::distributed {

/// Units whose parts lie on the ranks of a group, gathered for as long as they are in use. One
/// thread a rank; every rank makes the same calls in the same order, for each may start a
/// collective.
///
/// The root unit stays gathered from its first use until forget(), because every pass uses it first
/// and last. A block stays until it is released, or for longer under hold() or `keep`. While one
/// block is in use, prefetch() can start the gathering of the next: a pass then holds the root and
/// two blocks.
class GatheredUnits {
 public:
  struct Unit {
    std::vector<model::TensorSpec> layout;
    UnitCut cut;
  };
  /// This rank's part of a buffer of a unit, on the device where units are gathered: [part_numel]
  /// in the buffer's dtype.
  using OwnPart = std::function<at::Tensor(int64_t unit, const FlatBuffer& buffer)>;

  /// `keep`: released units stay gathered until forget(). `group` outlives the units.
  GatheredUnits(Communicator& group, std::map<int64_t, Unit> units, OwnPart own, bool keep);

  /// The unit's whole tensors in visitor order, as WeightSource::acquire. Uses may nest.
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
    std::vector<at::Tensor> buffers;  // whole ones, as they arrive; empty: not gathered
    std::vector<Pending> arriving;
    std::vector<at::Tensor> tensors;  // views of the buffers; empty until all have arrived
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

/// Every unit of a network, cut over a group.
std::map<int64_t, GatheredUnits::Unit> cut_units(const model::ModelConfig& config,
                                                 const UnitDtypes& dtypes,
                                                 const Communicator& group);

}  // namespace vmla::distributed
