#include "kernels/host_pages.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "kernels/cuda_module.h"

namespace vmla::kernels {

LockedPages::LockedPages(void* begin, size_t bytes) {
  const cuda::KernelTable* const module = cuda_kernels();
  if (module == nullptr || bytes == 0) return;
  problem_ = module->lock_pages(begin, bytes);
  if (problem_.empty()) locked_ = begin;
}

LockedPages::~LockedPages() {
  if (locked_ != nullptr) cuda_kernels()->unlock_pages(locked_);
}

LockedPages::LockedPages(LockedPages&& other) noexcept
    : locked_(std::exchange(other.locked_, nullptr)), problem_(std::move(other.problem_)) {}

LockedPages& LockedPages::operator=(LockedPages&& other) noexcept {
  std::swap(locked_, other.locked_);
  std::swap(problem_, other.problem_);
  return *this;
}

HostBlock host_block(size_t bytes, bool locked) {
  void* const data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return {.bytes = {}, .problem = std::strerror(errno)};
  // Large pages where there are such, because 4 kB pages cost a quarter of a million page faults a
  // gigabyte. It is advice: it may be refused.
  madvise(data, bytes, MADV_HUGEPAGE);
  auto pages = locked ? std::make_shared<LockedPages>(data, bytes) : nullptr;
  const std::string problem = pages ? pages->problem() : "";
  const auto release = [bytes, pages](void* block) mutable {
    pages.reset();  // before its memory goes
    munmap(block, bytes);
  };
  return {.bytes = at::from_blob(
              data, {static_cast<int64_t>(bytes)}, release, at::TensorOptions(at::kByte)),
          .problem = problem};
}

}  // namespace vmla::kernels
