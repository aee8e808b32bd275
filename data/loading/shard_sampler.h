#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace vmla::data {

/// The order in which a run sees its clips: position g of a run, counted over all steps and shards,
/// is clip permutation(seed, g / size)[g % size]. Epochs follow one another without dropping or
/// repeating anything, and nothing but the position has to be remembered to go on. Pure: equal
/// arguments give equal answers, in any order, from any thread.
class ShardSampler {
 public:
  /// `shard_count` readers share each global batch; this one is `shard_index`.
  ShardSampler(uint64_t seed,
               int64_t dataset_size,
               int64_t shard_index = 0,
               int64_t shard_count = 1);

  int64_t dataset_size() const { return size_; }
  /// Clips of the global samples [first, first + count).
  std::vector<int64_t> indices(int64_t first, int64_t count) const;
  /// First global sample of this shard's part of the batch [position, position + global_batch):
  /// shards hold consecutive parts, so the order within a batch is the same for every shard count.
  /// `global_batch` must divide by the shards.
  int64_t shard_first(int64_t position, int64_t global_batch) const;
  int64_t shard_batch(int64_t global_batch) const;

 private:
  /// The permutation of `epoch` (Fisher-Yates on draws of Purpose::kDataOrder, step = epoch).
  void use_epoch(int64_t epoch) const;

  uint64_t seed_;
  int64_t size_, shard_index_, shard_count_;
  // The permutation last asked for: a cache, guarded, because batches are prepared by several
  // threads.
  mutable std::mutex mutex_;
  mutable int64_t epoch_ = -1;
  mutable std::vector<int64_t> permutation_;
};

}  // namespace vmla::data
