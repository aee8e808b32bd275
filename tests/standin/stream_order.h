#pragma once

#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/standin/device.h"

// What waits for what. Work is done when it is queued, so an order that is missing shows in no
// value: it is kept as times instead, for each stream up to where it has waited for each other.

namespace vmla::standin {

constexpr int kStreamsOfDevice = 36;
using Times = std::array<uint64_t, kMostDevices * kStreamsOfDevice>;

/// A stream's place in Times.
int stream_index(c10::DeviceIndex device, c10::StreamId stream);
int current_stream_index(c10::DeviceIndex device);

/// All that is done when what is queued in a stream now is done.
Times times_of(int stream);
/// Makes a stream wait for an event, which is the times of when it was recorded.
void stream_waits(int stream, const Times& event);
/// The host has waited for these times, and so has all that is queued from now on; copies that
/// were under way until then are done.
void host_waited(const Times& times);
void host_waited_for(int stream);
/// Whether the host has waited for these times.
bool is_finished(const Times& times);

/// When parts of one block of memory were used, by which streams.
class Uses {
 public:
  /// Adds a use of the bytes [begin, end). Fails where a stream used some of them that nothing
  /// makes `stream` wait for, unless both only read. The mutex of the memory is held.
  void add(int stream, size_t begin, size_t end, Access access);
  /// Whether the host has waited for all of them.
  bool all_finished() const;

 private:
  struct Use {
    size_t begin, end;
    int stream;
    uint64_t time;
    bool writes;
  };
  std::vector<Use> uses_;
};

/// To be called before the current stream copies from or into these bytes of the host: what other
/// copies under way were to do with them is done. Fails where one of the two writes and nothing
/// makes the stream wait for the other.
void order_copies(c10::DeviceIndex device, const char* begin, const char* end, Access access);
/// A copy between page-locked memory and the device that the host does not wait for. To the host:
/// the bytes arrive once the host waits, and are NaN until then. From the host: they must not
/// change until then.
void copy_later(c10::DeviceIndex device,
                const at::Tensor& host,
                const at::Tensor& values,
                bool to_host);
/// Whether copies that use these bytes of the host are under way.
bool is_in_flight(const char* begin, const char* end);

}  // namespace vmla::standin
