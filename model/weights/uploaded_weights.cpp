#include "model/weights/uploaded_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/StreamGuard.h>

#include <memory>
#include <utility>

#include "kernels/device_streams.h"
#include "model/io/log.h"
#include "model/weights/weights.h"

namespace vmla::model {

UploadedWeights::UploadedWeights(WeightSource& home, at::Device device)
    : frozen_(&home), device_(device) {
  if (device.is_cuda()) stream_ = kernels::side_stream(device);
}

UploadedWeights::UploadedWeights(TrainedWeights& home, at::Device device)
    : moving_(&home), device_(device) {
  if (device.is_cuda()) stream_ = kernels::side_stream(device);
}

UploadedWeights::~UploadedWeights() {
  if (stream_) kernels::settle(*stream_);
}

/// Sends the unit on its way to the device, unless it is there or under way.
void UploadedWeights::send(int64_t unit, Slot& slot) {
  if (!slot.sent.empty() || !slot.tensors.empty()) return;
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> home =
      frozen_ != nullptr ? frozen_->acquire(unit) : std::vector<at::Tensor>{moving_->master(unit)};
  const std::shared_ptr<void> released(nullptr, [&](void*) {
    if (frozen_ != nullptr) frozen_->release(unit);
  });
  // A plan's copies are counted as well, so that they are not the tensors at home themselves.
  const bool is_elsewhere = stream_ || device_.is_meta();
  std::vector<at::Tensor> sent;
  for (const at::Tensor& tensor : home) {
    sent.push_back(is_elsewhere ? at::empty(tensor.sizes(), tensor.options().device(device_))
                                : tensor.to(device_));
  }
  if (!stream_) {
    slot.sent = std::move(sent);
    return;
  }
  // The allocator gives memory in the order of the current stream, whose kernels may still use what
  // lay there before; and masters may have been written in its order.
  c10::Event given(device_.type());
  given.record(kernels::current_stream(device_));
  given.block(*stream_);
  const c10::StreamGuard guard(*stream_);
  for (size_t i = 0; i < home.size(); ++i) sent[i].copy_(sendable(home[i]), /*non_blocking=*/true);
  slot.arriving.emplace(device_.type());
  slot.arriving->record(*stream_);
  slot.sent = std::move(sent);
}

/// The tensor in page-locked memory: where it lies, or a copy in LibTorch's, whose allocator gives
/// it to nobody else before the stream has read it.
at::Tensor UploadedWeights::sendable(const at::Tensor& tensor) {
  const at::Storage& storage = tensor.storage();
  if (frozen_ != nullptr && seen_.insert(storage.data()).second) {
    locked_.emplace_back(const_cast<void*>(storage.data()), storage.nbytes());
    const std::string& problem = locked_.back().problem();
    if (!problem.empty() && !std::exchange(said_, true)) {
      log::warn(
          "weights in the host's memory cannot be page-locked where they lie ({}): each use "
          "copies them once more",
          problem);
    }
  }
  return tensor.is_pinned() && tensor.is_contiguous() ? tensor : tensor.contiguous().pin_memory();
}

/// What is queued in the current stream from now on finds the unit there.
void UploadedWeights::expect_arrival(Slot& slot) const {
  if (!slot.arriving) return;
  slot.arriving->block(kernels::current_stream(device_));
  slot.arriving.reset();
}

/// The memory goes back in the order of the current stream, so that has to wait for the copy.
UploadedWeights::Slots::iterator UploadedWeights::drop(Slots::iterator slot) {
  try {
    expect_arrival(slot->second);
  } catch (const c10::Error&) {
    // Of a device that has failed. It says so at the next call; destructors release units.
  }
  return slots_.erase(slot);
}

std::vector<at::Tensor> UploadedWeights::acquire(int64_t unit) {
  Slot& slot = slots_[unit];
  send(unit, slot);
  expect_arrival(slot);
  if (slot.tensors.empty()) {
    const at::NoGradGuard no_grad;
    const std::vector<at::Tensor> sent = std::exchange(slot.sent, {});
    slot.tensors = frozen_ != nullptr ? sent : moving_->tensors_from(unit, sent.front());
  }
  ++slot.uses;
  return slot.tensors;
}

void UploadedWeights::release(int64_t unit) {
  const auto found = slots_.find(unit);
  TORCH_CHECK(found != slots_.end() && found->second.uses > 0,
              "a unit is released that was not acquired: ",
              unit);
  // The root stays: it is small, and every pass acquires it twice (embeddings and head).
  if (--found->second.uses == 0 && holds_ == 0 && unit != kRootUnit) drop(found);
}

void UploadedWeights::prefetch(int64_t unit) {
  send(unit, slots_[unit]);
}

void UploadedWeights::unhold() {
  TORCH_CHECK(holds_ > 0, "unhold without hold");
  if (--holds_ > 0) return;
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    const bool is_idle = slot->second.uses == 0 && slot->first != kRootUnit;
    slot = is_idle ? drop(slot) : std::next(slot);
  }
}

void UploadedWeights::add_gradients(int64_t unit, const std::vector<at::Tensor>&) {
  TORCH_CHECK(false, "weights that are kept on the host take no gradient, unit: ", unit);
}

void UploadedWeights::forget() {
  for (const auto& [unit, slot] : slots_)
    TORCH_CHECK(slot.uses == 0, "weights change while a unit is in use: ", unit);
  for (auto slot = slots_.begin(); slot != slots_.end();) slot = drop(slot);
}

}  // namespace vmla::model
