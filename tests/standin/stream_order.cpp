#include "tests/standin/stream_order.h"

#include <ATen/ATen.h>

#include <cstring>
#include <map>
#include <mutex>

#include "tests/standin/trace.h"

namespace vmla::standin {
namespace {

struct Copy {
  int stream;
  uint64_t time;
  at::Tensor host, values;
  bool to_host;
};

struct State {
  std::mutex mutex;
  uint64_t now = 1;
  std::map<int, Times> waited_for;  // by stream
  Times finished{};                 // for the host, hence for all that is queued later
  std::vector<Copy> copies;
};

/// Never destroyed: tensors may outlive every scope.
State& state() {
  static auto* const made = new State;
  return *made;
}

void raise(Times& times, const Times& others) {
  for (size_t i = 0; i < times.size(); ++i) times[i] = std::max(times[i], others[i]);
}

std::string name_of(int stream) {
  return "stream " + std::to_string(stream % kStreamsOfDevice) + " of device " +
         std::to_string(stream / kStreamsOfDevice);
}

/// The bytes that a copy was to move, now that the host has waited for it.
void land(const Copy& copy) {
  if (copy.to_host) {
    copy.host.copy_(copy.values);
    return;
  }
  TORCH_CHECK(
      std::memcmp(copy.host.const_data_ptr(), copy.values.const_data_ptr(), copy.values.nbytes()) ==
          0,
      "stand-in: page-locked memory was written while it was copied to the device: ",
      copy.values.nbytes(),
      " bytes");
}

}  // namespace

int stream_index(c10::DeviceIndex device, c10::StreamId stream) {
  return device * kStreamsOfDevice + static_cast<int>(stream);
}

int current_stream_index(c10::DeviceIndex device) {
  return stream_index(device, current_stream(device));
}

Times times_of(int stream) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  Times times = s.waited_for[stream];
  raise(times, s.finished);
  times[static_cast<size_t>(stream)] = s.now;
  return times;
}

void stream_waits(int stream, const Times& event) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  raise(s.waited_for[stream], event);
}

void host_waited(const Times& times) {
  State& s = state();
  std::vector<Copy> done;
  {
    const std::lock_guard lock(s.mutex);
    raise(s.finished, times);
    std::erase_if(s.copies, [&](Copy& copy) {
      if (copy.time > s.finished[static_cast<size_t>(copy.stream)]) return false;
      done.push_back(std::move(copy));
      return true;
    });
  }
  for (const Copy& copy : done) land(copy);
}

void host_waited_for(int stream) {
  host_waited(times_of(stream));
}

bool is_finished(const Times& times) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  for (size_t i = 0; i < times.size(); ++i)
    if (times[i] > s.finished[i]) return false;
  return true;
}

void Uses::add(int stream, size_t begin, size_t end, Access access) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  ++s.now;
  const bool writes = access == Access::kWrites;
  const Times& waited = s.waited_for[stream];
  for (const Use& use : uses_) {
    const auto other = static_cast<size_t>(use.stream);
    if (use.stream == stream || !(writes || use.writes) || use.end <= begin || end <= use.begin ||
        use.time <= std::max(s.finished[other], waited[other])) {
      continue;
    }
    TORCH_CHECK(false,
                "stand-in: ",
                name_of(stream),
                writes ? " overwrites what " : " reads what ",
                name_of(use.stream),
                use.writes ? " writes" : " reads",
                ", and nothing makes it wait for that");
  }
  // Kept are those that a later use could still clash with.
  std::erase_if(uses_, [&](const Use& use) {
    const bool covered = use.stream == stream && begin <= use.begin && use.end <= end;
    return use.time <= s.finished[static_cast<size_t>(use.stream)] ||
           (covered && (writes || !use.writes));
  });
  uses_.push_back({begin, end, stream, s.now, writes});
}

bool Uses::all_finished() const {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  for (const Use& use : uses_)
    if (use.time > s.finished[static_cast<size_t>(use.stream)]) return false;
  return true;
}

void order_copies(c10::DeviceIndex device, const char* begin, const char* end, Access access) {
  const int stream = current_stream_index(device);
  State& s = state();
  std::vector<Copy> done;
  {
    const std::lock_guard lock(s.mutex);
    const Times& waited = s.waited_for[stream];
    const auto clashes = [&](const Copy& copy) {
      const auto* at = static_cast<const char*>(copy.host.const_data_ptr());
      const bool overlaps = at < end && begin < at + copy.host.nbytes();
      return overlaps && (copy.to_host || access == Access::kWrites);
    };
    for (const Copy& copy : s.copies) {
      const auto other = static_cast<size_t>(copy.stream);
      const bool is_ordered =
          copy.stream == stream || copy.time <= std::max(s.finished[other], waited[other]);
      TORCH_CHECK(is_ordered || !clashes(copy),
                  "stand-in: ",
                  name_of(stream),
                  access == Access::kWrites ? " copies into" : " copies from",
                  " page-locked memory that ",
                  name_of(copy.stream),
                  copy.to_host ? " copies into" : " copies from",
                  ", and nothing makes it wait for that");
    }
    for (const Copy& copy : s.copies)
      if (clashes(copy)) done.push_back(copy);
    std::erase_if(s.copies, clashes);
  }
  for (const Copy& copy : done) land(copy);
}

void copy_later(c10::DeviceIndex device,
                const at::Tensor& host,
                const at::Tensor& values,
                bool to_host) {
  if (to_host && host.is_contiguous()) std::memset(host.mutable_data_ptr(), 0xFF, host.nbytes());
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.copies.push_back({current_stream_index(device), ++s.now, host, values, to_host});
}

bool is_in_flight(const char* begin, const char* end) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  for (const Copy& copy : s.copies) {
    const auto* at = static_cast<const char*>(copy.host.const_data_ptr());
    if (at < end && begin < at + copy.host.nbytes()) return true;
  }
  return false;
}

}  // namespace vmla::standin
