#include "trainer/roles/host_shuttle.h"

#include "kernels/device_streams.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <array>

namespace vmla::trainer {
namespace {

constexpr int64_t kSlots = 2;

/// Room on the device for a group.
struct Slot {
  explicit Slot(c10::DeviceType type) : arrived(type), worked(type), free(type) {}
  HostShuttle::Group room;  // each as long as the longest tensor in its place
  c10::Event arrived, worked, free;
};

/// `like`'s numbers in `room`, which has as many or more.
HostShuttle::Group views(const HostShuttle::Group& room, const HostShuttle::Group& like) {
  HostShuttle::Group part;
  for (size_t i = 0; i < like.size(); ++i)
    part.push_back(room[i].narrow(0, 0, like[i].numel()).view(like[i].sizes()));
  return part;
}

void copy(const HostShuttle::Group& to, const HostShuttle::Group& from) {
  for (size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i], /*non_blocking=*/true);
}

}  // namespace

HostShuttle::HostShuttle(c10::Device device)
    : device_(device),
      in_(kernels::side_stream(device)),
      out_(kernels::side_stream(device)),
      last_left_(device.type()) {}

int64_t HostShuttle::room(const std::vector<Group>& groups) {
  size_t sum = 0;
  for (size_t i = 0; !groups.empty() && i < groups.front().size(); ++i) {
    size_t longest = 0;
    for (const Group& group : groups) longest = std::max(longest, group[i].nbytes());
    sum += longest;
  }
  return kSlots * static_cast<int64_t>(sum);
}

HostShuttle::~HostShuttle() {
  drain();
}

/// Waits for all copies, also where the device has failed.
void HostShuttle::drain() const noexcept {
  kernels::settle(in_);
  kernels::settle(out_);
}

void HostShuttle::each(const std::vector<Group>& groups, const Work& work) {
  if (groups.empty()) return;
  try {
    lend(groups, work);
  } catch (...) {
    // Copies under way use memory that goes now, on the device and perhaps on the host.
    drain();
    throw;
  }
}

void HostShuttle::lend(const std::vector<Group>& groups, const Work& work) {
  const at::NoGradGuard no_grad;
  const c10::Stream current = kernels::current_stream(device_);
  std::array<Slot, kSlots> slots{Slot(device_.type()), Slot(device_.type())};
  for (Slot& slot : slots) {
    for (size_t i = 0; i < groups.front().size(); ++i) {
      int64_t numel = 0;
      for (const Group& group : groups) numel = std::max(numel, group[i].numel());
      slot.room.push_back(at::empty({numel}, groups.front()[i].options().device(device_)));
    }
    // Others' kernels in the current stream may still use the memory that the allocator gave.
    slot.free.record(current);
  }
  last_left_.block(in_);  // what the host is to lend may still be on its way there
  const auto fetch = [&](size_t index) {
    Slot& slot = slots[index % slots.size()];
    slot.free.block(in_);
    const c10::StreamGuard guard(in_);
    copy(views(slot.room, groups[index]), groups[index]);
    slot.arrived.record(in_);
  };
  fetch(0);
  for (size_t index = 0; index < groups.size(); ++index) {
    if (index + 1 < groups.size()) fetch(index + 1);
    Slot& slot = slots[index % slots.size()];
    const Group here = views(slot.room, groups[index]);
    slot.arrived.block(current);
    work(index, here);
    slot.worked.record(current);
    slot.worked.block(out_);
    const c10::StreamGuard guard(out_);
    copy(groups[index], here);
    slot.free.record(out_);
  }
  last_left_.record(out_);
  // The room is given back in the order of the current stream.
  last_left_.block(current);
}

}  // namespace vmla::trainer
