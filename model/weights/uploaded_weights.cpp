#include "model/weights/uploaded_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/weights/weights.h"

namespace vmla::model {

void UploadedWeights::upload(int64_t unit, Slot& slot) {
  const at::NoGradGuard no_grad;
  for (const at::Tensor& tensor : home_.acquire(unit))
    slot.tensors.push_back(tensor.to(device_, /*non_blocking=*/true));
  home_.release(unit);
}

std::vector<at::Tensor> UploadedWeights::acquire(int64_t unit) {
  Slot& slot = slots_[unit];
  if (slot.tensors.empty()) upload(unit, slot);
  ++slot.uses;
  return slot.tensors;
}

void UploadedWeights::release(int64_t unit) {
  const auto found = slots_.find(unit);
  TORCH_CHECK(found != slots_.end() && found->second.uses > 0,
              "a unit is released that was not acquired: ",
              unit);
  // The root stays: it is small, and every pass acquires it twice (embeddings and head).
  if (--found->second.uses == 0 && holds_ == 0 && unit != kRootUnit) slots_.erase(found);
}

void UploadedWeights::prefetch(int64_t unit) {
  Slot& slot = slots_[unit];
  if (slot.tensors.empty()) upload(unit, slot);
}

void UploadedWeights::unhold() {
  TORCH_CHECK(holds_ > 0, "unhold without hold");
  if (--holds_ > 0) return;
  std::erase_if(slots_,
                [](const auto& slot) { return slot.second.uses == 0 && slot.first != kRootUnit; });
}

void UploadedWeights::add_gradients(int64_t unit, const std::vector<at::Tensor>&) {
  TORCH_CHECK(false, "weights that are kept on the host take no gradient, unit: ", unit);
}

void UploadedWeights::forget() {
  for (const auto& [unit, slot] : slots_)
    TORCH_CHECK(slot.uses == 0, "weights change while a unit is in use: ", unit);
  slots_.clear();
}

}  // namespace vmla::model
