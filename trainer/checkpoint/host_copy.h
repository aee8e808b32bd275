#pragma once

#include "trainer/checkpoint/checkpoint_pieces.h"

#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

/// A copy of pieces in the host's memory, in a block that is kept for the next one. The block is
/// not among the tensor bytes that are counted: a page-locked one for an accelerator's tensors (the
/// copy then runs beside the kernels, on a stream of its own), else plain pages.
class HostCopy {
 public:
  HostCopy();
  ~HostCopy();
  HostCopy(const HostCopy&) = delete;
  HostCopy& operator=(const HostCopy&) = delete;

  /// Notes where the devices of `roles` stand in their current streams: the values there are the
  /// ones that copy() takes. On the thread that computes.
  void mark(const std::map<std::string, PieceMap>& roles);
  /// Copies; any thread, after mark(). The values must not be written until it returns. The result
  /// is valid until the next copy().
  std::map<std::string, PieceMap> copy(const std::map<std::string, PieceMap>& roles);

 private:
  struct Mark;  // a device, and where its stream stood
  char* block_for(size_t bytes);

  at::Tensor block_;  // bytes
  std::vector<Mark> marks_;
};

}  // namespace vmla::trainer
