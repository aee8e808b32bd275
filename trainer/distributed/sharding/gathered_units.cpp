#include "trainer/distributed/sharding/gathered_units.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::distributed {

GatheredUnits::GatheredUnits(Communicator& group,
                             std::map<int64_t, Unit> units,
                             OwnPart own,
                             bool keep)
    : group_(group), units_(std::move(units)), own_(std::move(own)), keep_(keep) {
  for (const auto& [index, unit] : units_) slots_[index];
}

/// Starts to gather the unit, each buffer in its own dtype: in bf16 that is half the bytes of the
/// masters.
void GatheredUnits::start(int64_t index, Slot& slot) {
  const at::NoGradGuard no_grad;
  for (const FlatBuffer& buffer : units_.at(index).cut.buffers) {
    const at::Tensor part = own_(index, buffer);
    slot.buffers.push_back(at::empty({buffer.part_numel * group_.size()}, part.options()));
    slot.arriving.push_back(group_.all_gather(slot.buffers.back(), part));
  }
}

std::vector<at::Tensor> GatheredUnits::acquire(int64_t index) {
  Slot& slot = slots_.at(index);
  ++slot.uses;
  if (slot.buffers.empty()) start(index, slot);
  if (slot.tensors.empty()) {
    for (Pending& part : slot.arriving) part.wait();
    slot.arriving.clear();
    const Unit& unit = units_.at(index);
    slot.tensors = unit_views(unit.cut, unit.layout, slot.buffers);
  }
  return slot.tensors;
}

void GatheredUnits::release(int64_t index) {
  Slot& slot = slots_.at(index);
  TORCH_CHECK(slot.uses > 0, "a unit is released that was not acquired: ", index);
  --slot.uses;
  drop_if_idle(index, slot);
}

void GatheredUnits::prefetch(int64_t index) {
  const auto found = slots_.find(index);
  if (found != slots_.end() && found->second.buffers.empty()) start(index, found->second);
}

/// Frees what was gathered of a unit that nobody uses, unless it is to stay.
void GatheredUnits::drop_if_idle(int64_t index, Slot& slot) {
  if (slot.uses > 0 || keep_ || holds_ > 0 || index == model::kRootUnit) return;
  slot = {};
}

void GatheredUnits::unhold() {
  TORCH_CHECK(holds_ > 0, "unhold without hold");
  if (--holds_ > 0) return;
  for (auto& [index, slot] : slots_) drop_if_idle(index, slot);
}

void GatheredUnits::forget() {
  for (auto& [index, slot] : slots_) {
    TORCH_CHECK(slot.uses == 0, "weights change while a unit is in use: ", index);
    slot = {};  // what is still arriving is waited for by its Pending
  }
}

std::map<int64_t, GatheredUnits::Unit> cut_units(const model::ModelConfig& config,
                                                 const UnitDtypes& dtypes,
                                                 const Communicator& group) {
  std::map<int64_t, GatheredUnits::Unit> units;
  for (const int64_t unit : model::all_units(config)) {
    auto layout = model::unit_layout(config, unit);
    UnitCut cut = cut_unit(layout, dtypes, {.rank = group.rank(), .size = group.size()});
    units.emplace(unit, GatheredUnits::Unit{std::move(layout), std::move(cut)});
  }
  return units;
}

}  // namespace vmla::distributed
