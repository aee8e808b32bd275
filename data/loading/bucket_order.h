#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vmla::data {

/// Which bucket each step takes its batch from, where a dataset has clips of several shapes: all
/// clips of a batch are of one shape. At every step it is the bucket that is furthest behind its
/// share of the clips, so that after any number of steps no bucket is more than one batch from its
/// share, and a clip of a small bucket comes up as often as any other. Not for several threads.
class BucketOrder {
 public:
  /// `sizes`: clips of each bucket, all above 0.
  explicit BucketOrder(std::vector<int64_t> sizes);

  struct Turn {
    size_t bucket;
    int64_t earlier;  // steps before this one that the same bucket had
  };
  /// Equal for equal arguments, whatever was asked before.
  Turn at(int64_t step);

 private:
  /// Lengthens turns_ by a step.
  void extend();

  std::vector<int64_t> sizes_;
  int64_t total_ = 0;          // of sizes_: after so many steps the order begins again
  std::vector<int64_t> used_;  // turns of each bucket in turns_
  std::vector<Turn> turns_;    // as far as they were asked for, at most total_
};

}  // namespace vmla::data
