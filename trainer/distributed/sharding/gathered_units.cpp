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

void GatheredUnits::start(int64_t index, Slot& slot) {
  const at::NoGradGuard no_grad;
  for (const FlatBuffer& buffer : units_.at(index).cut.buffers) {
    const at::Tensor part = own_(index, buffer);
    slot.whole.push_back(at::empty({buffer.cut * group_.size()}, part.options()));
    slot.arriving.push_back(group_.all_gather(slot.whole.back(), part));
  }
}

std::vector<at::Tensor> GatheredUnits::acquire(int64_t index) {
  Slot& slot = slots_.at(index);
  ++slot.uses;
  if (slot.whole.empty()) start(index, slot);
  if (slot.tensors.empty()) {
    for (Pending& part : slot.arriving) part.wait();
    slot.arriving.clear();
    const Unit& unit = units_.at(index);
    slot.tensors.resize(unit.layout.size());
    for (size_t b = 0; b < slot.whole.size(); ++b) {
      const FlatBuffer& buffer = unit.cut.buffers[b];
      const auto views = buffer_views(buffer, unit.layout, slot.whole[b]);
      for (size_t i = 0; i < views.size(); ++i) slot.tensors[buffer.tensors[i]] = views[i];
    }
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
  if (found != slots_.end() && found->second.whole.empty()) start(index, found->second);
}

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

}  // namespace vmla::distributed
