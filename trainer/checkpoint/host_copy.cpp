#include "trainer/checkpoint/host_copy.h"

#include "kernels/device_streams.h"
#include "kernels/host_pages.h"
#include "model/io/error.h"
#include "model/io/log.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <optional>

namespace vmla::trainer {
namespace {

/// Every tensor of the block starts where a cache line does.
constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

struct HostCopy::Mark {
  c10::Device device;
  c10::Event event;
};

HostCopy::HostCopy() = default;
HostCopy::~HostCopy() = default;

void HostCopy::mark(const std::map<std::string, PieceMap>& roles) {
  marks_.clear();
  for (const auto& [role, pieces] : roles) {
    for (const auto& [name, piece] : pieces) {
      const c10::Device device = piece.data.device();
      const bool is_marked =
          std::ranges::any_of(marks_, [&](const Mark& mark) { return mark.device == device; });
      if (device.is_cpu() || is_marked) continue;
      Mark& mark = marks_.emplace_back(Mark{device, c10::Event(device.type())});
      mark.event.record(kernels::current_stream(device));
    }
  }
}

char* HostCopy::block_for(size_t bytes) {
  if (!block_.defined() || block_.nbytes() < bytes) {
    block_.reset();  // before the new one is made: there is no memory for two
    auto [block, problem] = kernels::host_block(bytes, /*locked=*/!marks_.empty());
    if (!block.defined()) {
      fail_run(
          "no memory for a copy of the state while it is saved ({} bytes): {}", bytes, problem);
    }
    if (!problem.empty())
      log::warn("the copy of the state for checkpoints is not page-locked: {}; steps wait for it",
                problem);
    block_ = std::move(block);
  }
  return static_cast<char*>(block_.mutable_data_ptr());
}

std::map<std::string, PieceMap> HostCopy::copy(const std::map<std::string, PieceMap>& roles) {
  const at::NoGradGuard no_grad;
  // Threads begin on the first GPU: locking pages there would make this process a context on it.
  c10::OptionalDeviceGuard device;
  if (!marks_.empty()) device.reset_device(marks_.front().device);
  size_t bytes = kAlignment;  // never an empty block
  for (const auto& [role, pieces] : roles) {
    for (const auto& [name, piece] : pieces) bytes += aligned(piece.data.nbytes());
  }
  char* place = block_for(bytes);
  // On each device the copies are queued on a stream from the pool, behind the mark.
  std::optional<c10::MultiStreamGuard> streams;
  std::vector<c10::Stream> own;
  for (const Mark& mark : marks_) {
    own.push_back(kernels::side_stream(mark.device));
    mark.event.block(own.back());
  }
  if (!own.empty()) streams.emplace(own);
  std::map<std::string, PieceMap> copies;
  for (const auto& [role, pieces] : roles) {
    PieceMap& copied = copies[role];  // also when this rank has nothing of the role
    for (const auto& [name, piece] : pieces) {
      TensorPiece& target = copied[name];
      target = {.shape = piece.shape,
                .first = piece.first,
                .data = at::from_blob(
                    place, piece.data.sizes(), at::TensorOptions(piece.data.scalar_type()))};
      target.data.copy_(piece.data, /*non_blocking=*/true);
      place += aligned(piece.data.nbytes());
    }
  }
  for (const c10::Stream& stream : own) stream.synchronize();
  return copies;
}

}  // namespace vmla::trainer
