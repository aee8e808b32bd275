#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <string>

namespace vmla::kernels {

/// A range of the host's memory that stays where it is while this lives (page-locked), so that a
/// GPU copies out of it and into it beside its kernels, without a wait of the host. Where the
/// system refuses, or no GPU is in use, nothing is locked: copies are then slower, and right.
/// Copies must have ended before it goes.
class LockedPages {
 public:
  LockedPages() = default;
  LockedPages(void* begin, size_t bytes);
  ~LockedPages();
  LockedPages(LockedPages&& other) noexcept;
  LockedPages& operator=(LockedPages&& other) noexcept;

  /// Why nothing is locked, in one line; empty where it is, or where no GPU is in use.
  const std::string& problem() const { return problem_; }

 private:
  void* locked_ = nullptr;
  std::string problem_;
};

/// A block of zeros in the host's memory, of exactly `bytes`: LibTorch's own page-locked memory is
/// rounded up to a power of two, which for the state of a model is as much again. Taken from the
/// system and not from LibTorch's allocator, and given back with the last tensor that uses it.
struct HostBlock {
  at::Tensor bytes;     // uint8 [bytes]; undefined where the system has no memory
  std::string problem;  // LockedPages::problem(), or why there is no memory
};
HostBlock host_block(size_t bytes, bool locked);

}  // namespace vmla::kernels
