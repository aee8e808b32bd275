#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace vmla::model {

/// What blocks keep for their backward, moved into the host's memory meanwhile
/// (distributed.offload: activations). A group of tensors leaves a GPU beside the next block's
/// forward, and comes back beside the backward of the block after it. No wait of the host.
///
/// On the GPU it costs two groups: in forward the one that is leaving is held until the next one is
/// put, for its memory must not be used again before; in backward the next one to be taken is on
/// its way while one is in use. Blocks of the host's memory are page-locked and kept for the next
/// step. On the meta device nothing is copied: a plan sees the same tensors come and go.
class HostActivations {
 public:
  using Group = std::vector<at::Tensor>;  // some of which may be undefined

  explicit HostActivations(c10::Device device);
  /// Waits for copies that are under way.
  ~HostActivations();
  HostActivations(const HostActivations&) = delete;
  HostActivations& operator=(const HostActivations&) = delete;

  /// A group that is away. Its memory on the host is free again when the last copy of this goes;
  /// the owner, the HostActivations, outlives it.
  struct Away;

  /// Sends the group away; the caller drops its tensors.
  std::shared_ptr<Away> put(Group group);
  /// The group again, on the device, once. The one that was put last of those still away begins to
  /// come back too, since a backward takes them in that order.
  Group take(const std::shared_ptr<Away>& away);

  /// What it has on the host.
  int64_t host_bytes() const { return host_bytes_; }

 private:
  struct Place;
  void fetch(Away& away);

  c10::Device device_;
  std::optional<c10::Stream> side_;       // none on the meta device
  std::vector<std::weak_ptr<Away>> all_;  // in the order in which they were put
  std::shared_ptr<Away> leaving_;         // the last one that was put
  std::vector<std::shared_ptr<Place>> places_;
  int64_t host_bytes_ = 0;
  bool warned_ = false;
};

}  // namespace vmla::model
