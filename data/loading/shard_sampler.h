#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "data/loading/bucket_order.h"
#include "data/store/clip_bucket.h"

namespace vmla::data {

/// The order in which a run sees its clips: sample g of a run, counted over all steps and shards,
/// is clip permutation(seed, g / size)[g % size]. Epochs follow one another without dropping or
/// repeating anything, and nothing but the position has to be remembered to go on. With several
/// buckets each has such an order of its own, and each step goes on in one of them (BucketOrder).
/// Equal arguments give equal answers, in any order, from any thread.
class ShardSampler {
 public:
  /// One of `count` readers that share each global batch.
  struct Shard {
    int64_t index = 0;
    int64_t count = 1;
  };
  /// The steps of several buckets are those of `global_batch` samples; with one bucket it does not
  /// matter.
  ShardSampler(uint64_t seed, std::vector<Bucket> buckets, int64_t global_batch, Shard shard);
  /// Clips of one shape.
  ShardSampler(uint64_t seed, int64_t dataset_size, Shard shard)
      : ShardSampler(seed, {Bucket{{0, dataset_size}}}, 1, shard) {}
  /// The only reader.
  ShardSampler(uint64_t seed, int64_t dataset_size) : ShardSampler(seed, dataset_size, Shard()) {}

  int64_t dataset_size() const { return size_; }
  /// The bucket of the batch that holds sample `sample`.
  size_t bucket(int64_t sample) const;
  /// Clips of the samples [first, first + count).
  std::vector<int64_t> indices(int64_t first, int64_t count) const;
  /// The first sample of this shard's part of the batch [position, position + global_batch). Shards
  /// hold consecutive parts, so the order within a batch is the same for every number of shards.
  int64_t shard_first(int64_t position, int64_t global_batch) const;
  /// The samples of that part. c10::Error unless the number of shards divides `global_batch`.
  int64_t shard_batch(int64_t global_batch) const;

 private:
  /// A bucket's clips in the order of the epoch that was last asked for, kept because batches
  /// follow one another in an epoch.
  struct Epoch {
    int64_t number = -1;
    std::vector<int64_t> clips;
  };
  /// The clips of `bucket` in `epoch`: Fisher-Yates on draws of Purpose::kDataOrder, step = epoch,
  /// role = bucket.
  const std::vector<int64_t>& epoch_of(size_t bucket, int64_t epoch) const;
  int64_t clip(int64_t sample) const;

  uint64_t seed_;
  std::vector<Bucket> buckets_;
  std::vector<int64_t> sizes_;  // clips of each bucket
  int64_t size_;                // clips of the dataset
  int64_t global_batch_;
  Shard shard_;
  // Several threads read batches, hence the mutex.
  mutable std::mutex mutex_;
  mutable BucketOrder order_;
  mutable std::vector<Epoch> epochs_;
};

}  // namespace vmla::data
