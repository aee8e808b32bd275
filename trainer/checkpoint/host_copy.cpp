#include "trainer/checkpoint/host_copy.h"

#include "model/io/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

namespace vmla::trainer {
namespace {

/// Every tensor of the block starts where a cache line does.
constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// Plain pages, from the system and not from LibTorch's allocator; large ones where there are such,
/// because 4 kB pages cost a quarter of a million page faults a gigabyte.
at::Tensor mapped_block(size_t bytes) {
  void* const data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    fail_run("no memory for a copy of the state while it is saved ({} bytes): {}",
             bytes,
             std::strerror(errno));
  }
  madvise(data, bytes, MADV_HUGEPAGE);  // advice: it may be refused
  return at::from_blob(
      data,
      {static_cast<int64_t>(bytes)},
      [bytes](void* block) { munmap(block, bytes); },
      at::TensorOptions(at::kByte));
}

at::Tensor page_locked_block(size_t bytes) {
  return at::empty({static_cast<int64_t>(bytes)}, at::TensorOptions(at::kByte).pinned_memory(true));
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
      mark.event.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    }
  }
}

char* HostCopy::block_for(size_t bytes) {
  if (!block_.defined() || block_.nbytes() < bytes) {
    block_.reset();  // before the new one is made: there is no memory for two
    block_ = marks_.empty() ? mapped_block(bytes) : page_locked_block(bytes);
  }
  return static_cast<char*>(block_.mutable_data_ptr());
}

std::map<std::string, PieceMap> HostCopy::copy(const std::map<std::string, PieceMap>& roles) {
  const at::NoGradGuard no_grad;
  size_t bytes = kAlignment;  // never an empty block
  for (const auto& [role, pieces] : roles) {
    for (const auto& [name, piece] : pieces) bytes += aligned(piece.data.nbytes());
  }
  char* place = block_for(bytes);
  // On each device the copies are queued on a stream from the pool, behind the mark.
  std::optional<c10::MultiStreamGuard> streams;
  std::vector<c10::Stream> own;
  for (const Mark& mark : marks_) {
    own.push_back(
        c10::impl::VirtualGuardImpl(mark.device.type()).getStreamFromGlobalPool(mark.device));
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
