#pragma once

#include "trainer/checkpoint/checkpoint_pieces.h"

#include <map>
#include <string>
#include <vector>

namespace vmla::trainer {

/// A copy of pieces in the host's memory, in one block that is kept for the next copy. For an
/// accelerator's tensors the block is page-locked where the system permits, so that the copy runs
/// beside the kernels on a stream of its own; else it is plain pages. It does not count among the
/// tensors' bytes (tensor_memory.h): the plan has a line of its own for it.
class HostCopy {
 public:
  HostCopy();
  ~HostCopy();
  HostCopy(const HostCopy&) = delete;
  HostCopy& operator=(const HostCopy&) = delete;

  /// Notes how far the current streams of the devices of `roles` have been filled: copy() takes the
  /// values that the tensors have there. Call it on the thread that computes.
  void mark(const std::map<std::string, PieceMap>& roles);
  /// Copies; on any thread, after mark(). The values must not be written until it returns. The
  /// result is views of the block, valid until the next copy().
  std::map<std::string, PieceMap> copy(const std::map<std::string, PieceMap>& roles);

 private:
  struct Mark;  // a device, and how far its stream was filled
  char* block_for(size_t bytes);

  at::Tensor block_;  // bytes
  std::vector<Mark> marks_;
};

}  // namespace vmla::trainer
