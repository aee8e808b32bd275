#include "model/network/host_activations.h"

#include "kernels/device_streams.h"
#include "kernels/host_pages.h"
#include "model/io/error.h"
#include "model/io/log.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <exception>
#include <utility>

namespace vmla::model {

/// Room for a group in the host's memory.
struct HostActivations::Place {
  kernels::HostBlock block;
  size_t bytes = 0;
  bool in_use = false;
};

struct HostActivations::Away {
  Away(std::shared_ptr<Place> where, c10::Device device)
      : place(std::move(where)), on(device), left(device.type()), arrived(device.type()) {
    place->in_use = true;
  }
  /// Where it is dropped on its way back, as by an error, its memory on the device must not be used
  /// again before the copy has ended.
  ~Away() {
    place->in_use = false;
    try {
      if (fetched) arrived.block(kernels::current_stream(on));
    } catch (const std::exception&) {  // the device has failed, and its error is on its way
    }
  }
  Away(const Away&) = delete;
  Away& operator=(const Away&) = delete;

  std::shared_ptr<Place> place;
  std::vector<at::TensorOptions> options;  // without a dtype where the group has no tensor
  std::vector<std::vector<int64_t>> sizes;
  Group there;  // views of the place; none on the meta device
  Group here;   // on the device: still, or again
  bool fetched = false;
  c10::Device on;
  c10::Event left, arrived;
};

namespace {

// Of a tensor within a place, in bytes: what copies like best.
constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

size_t bytes_of(const HostActivations::Group& group) {
  size_t sum = 0;
  for (const at::Tensor& x : group)
    if (x.defined()) sum += aligned(x.numel() * x.element_size());
  return sum;
}

}  // namespace

HostActivations::HostActivations(c10::Device device) : device_(device) {
  if (!device.is_meta()) side_ = kernels::side_stream(device);
}

HostActivations::~HostActivations() {
  if (side_) kernels::settle(*side_);
}

std::shared_ptr<HostActivations::Away> HostActivations::put(Group group) {
  const at::NoGradGuard no_grad;
  const size_t bytes = bytes_of(group);
  auto free = std::ranges::find_if(
      places_, [&](const auto& place) { return !place->in_use && place->bytes >= bytes; });
  if (free == places_.end()) {
    auto place = std::make_shared<Place>();
    place->bytes = bytes;
    if (side_) {
      place->block = kernels::host_block(bytes, /*locked=*/true);
      if (!place->block.bytes.defined()) {
        fail_run("no {} bytes of the host's memory for activations (distributed.offload): {}",
                 bytes,
                 place->block.problem);
      }
      if (!place->block.problem.empty() && !std::exchange(warned_, true)) {
        log::warn("offloaded activations are not page-locked, so their copies are waited for: {}",
                  place->block.problem);
      }
    }
    host_bytes_ += static_cast<int64_t>(bytes);
    free = places_.insert(places_.end(), std::move(place));
  }
  auto away = std::make_shared<Away>(*free, side_ ? device_ : c10::Device(c10::kCPU));
  size_t offset = 0;
  for (const at::Tensor& x : group) {
    away->options.push_back(x.defined() ? x.options() : at::TensorOptions());
    away->sizes.push_back(x.defined() ? x.sizes().vec() : std::vector<int64_t>());
    if (!side_) continue;
    away->there.emplace_back();
    if (!x.defined()) continue;
    const auto length = static_cast<int64_t>(x.numel() * x.element_size());
    away->there.back() = (*free)
                             ->block.bytes.narrow(0, static_cast<int64_t>(offset), length)
                             .view(x.scalar_type())
                             .view(x.sizes());
    offset += aligned(static_cast<size_t>(length));
  }
  if (side_) {
    const c10::Stream current = kernels::current_stream(device_);
    // The one before has left by the time that this stream comes here, so that its memory may be
    // used again in the stream's order.
    if (leaving_) leaving_->left.block(current);
    c10::Event made(device_.type());
    made.record(current);
    made.block(*side_);
    const c10::StreamGuard guard(*side_);
    for (size_t i = 0; i < group.size(); ++i)
      if (group[i].defined()) away->there[i].copy_(group[i], /*non_blocking=*/true);
    away->left.record(*side_);
  }
  if (leaving_) leaving_->here.clear();
  away->here = std::move(group);
  leaving_ = away;
  std::erase_if(all_, [](const auto& one) { return one.expired(); });
  all_.push_back(away);
  return away;
}

/// Back onto the device, beside what the current stream does.
void HostActivations::fetch(Away& away) {
  if (!away.here.empty()) return;
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < away.sizes.size(); ++i) {
    const bool defined = away.options[i].has_dtype();
    away.here.push_back(defined ? at::empty(away.sizes[i], away.options[i]) : at::Tensor());
  }
  if (!side_) return;
  // Kernels of the current stream may still use the memory that the allocator gave.
  c10::Event given(device_.type());
  given.record(kernels::current_stream(device_));
  given.block(*side_);
  const c10::StreamGuard guard(*side_);
  for (size_t i = 0; i < away.here.size(); ++i)
    if (away.here[i].defined()) away.here[i].copy_(away.there[i], /*non_blocking=*/true);
  away.arrived.record(*side_);
  away.fetched = true;
}

HostActivations::Group HostActivations::take(const std::shared_ptr<Away>& away) {
  fetch(*away);
  if (side_) {
    const c10::Stream current = kernels::current_stream(device_);
    away->arrived.block(current);
    // A group that is still here may be on its way out: its memory must not be used again before.
    away->left.block(current);
  }
  if (leaving_ == away) leaving_ = nullptr;
  Group group = std::exchange(away->here, {});
  std::erase_if(all_, [&](const auto& one) { return one.expired() || one.lock() == away; });
  for (auto last = all_.rbegin(); last != all_.rend(); ++last) {
    const std::shared_ptr<Away> next = last->lock();
    if (!next->here.empty()) continue;  // on its way already, and perhaps never taken
    fetch(*next);
    break;
  }
  return group;
}

}  // namespace vmla::model
