#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace vmla::trainer {

/// Lends tensors of the host's memory to a GPU, one group after another: while the GPU works on a
/// group, the one before it leaves and, once that has made room, the next one arrives, each
/// direction on a stream of its own.
/// Copies pass beside the work only where the host's tensors are page-locked
/// (kernels/host_pages.h). No wait of the host but wait(). One thread.
class HostShuttle {
 public:
  using Group = std::vector<at::Tensor>;
  /// Works on the copies of group `index`, in the current stream; what it writes goes back.
  using Work = std::function<void(size_t index, const Group& here)>;

  explicit HostShuttle(c10::Device device);
  /// Waits for what has not left yet.
  ~HostShuttle();
  HostShuttle(const HostShuttle&) = delete;
  HostShuttle& operator=(const HostShuttle&) = delete;

  /// Calls `work` for each group in turn. Groups are alike in number and dtypes. The device holds
  /// room(groups) bytes meanwhile. The current stream goes on when the last group has left.
  void each(const std::vector<Group>& groups, const Work& work);

  /// What each() takes of the device: two slots, each as large as the largest group.
  static int64_t room(const std::vector<Group>& groups);

  /// Until it returns the host may not read what each() has written.
  void wait() const { last_left_.synchronize(); }

 private:
  void drain() const noexcept;
  void lend(const std::vector<Group>& groups, const Work& work);

  c10::Device device_;
  c10::Stream in_, out_;
  c10::Event last_left_;  // the last group of the last each() has left
};

}  // namespace vmla::trainer
