#pragma once

#include <c10/core/Device.h>

namespace vmla::standin {

/// Makes the addresses, the allocator and the handler that names who touched them.
void start_memory();

/// The device that an address belongs to; -1 for one of the host.
c10::DeviceIndex device_of_address(const void* address);

/// Notes that this process works on a device, which costs memory there (a context of CUDA).
void use_context(c10::DeviceIndex device);
bool has_context(c10::DeviceIndex device);

/// Memory that is allocated while graphs are recorded, and given to nobody else. Once the last
/// graph is gone, so is what nobody has of it.
class GraphPool {
 public:
  explicit GraphPool(int number) : number_(number) {}
  ~GraphPool();
  GraphPool(const GraphPool&) = delete;
  GraphPool& operator=(const GraphPool&) = delete;
  int number() const { return number_; }

 private:
  int number_;  // from 1 on
};

/// While one lives, this thread allocates from the pool. Then what was written is again as it was
/// before, and what was allocated is NaN: nothing has been done yet.
class RecordingMemory {
 public:
  explicit RecordingMemory(const GraphPool& pool);
  ~RecordingMemory();
  RecordingMemory(const RecordingMemory&) = delete;
  RecordingMemory& operator=(const RecordingMemory&) = delete;
};

/// While one lives, this thread may use the pool's memory that nobody has: it was so when it was
/// recorded.
class ReplayingMemory {
 public:
  explicit ReplayingMemory(const GraphPool& pool);
  ~ReplayingMemory();
  ReplayingMemory(const ReplayingMemory&) = delete;
  ReplayingMemory& operator=(const ReplayingMemory&) = delete;
};

}  // namespace vmla::standin
