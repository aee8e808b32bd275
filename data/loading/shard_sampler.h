#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace vmla::data {

/// The order in which a run sees its clips: sample g of a run, counted over all steps and shards,
/// is clip permutation(seed, g / size)[g % size]. Epochs follow one another without dropping or
/// repeating anything, and nothing but the position has to be remembered to go on. Equal arguments
/// give equal answers, in any order, from any thread.
class ShardSampler {
 public:
  /// One of `count` readers that share each global batch.
  struct Shard {
    int64_t index = 0;
    int64_t count = 1;
  };
  ShardSampler(uint64_t seed, int64_t dataset_size, Shard shard);
  /// The only reader.
  ShardSampler(uint64_t seed, int64_t dataset_size) : ShardSampler(seed, dataset_size, Shard()) {}

  int64_t dataset_size() const { return size_; }
  /// Clips of the samples [first, first + count).
  std::vector<int64_t> indices(int64_t first, int64_t count) const;
  /// The first sample of this shard's part of the batch [position, position + global_batch). Shards
  /// hold consecutive parts, so the order within a batch is the same for every number of shards.
  int64_t shard_first(int64_t position, int64_t global_batch) const;
  /// The samples of that part. c10::Error unless the number of shards divides `global_batch`.
  int64_t shard_batch(int64_t global_batch) const;

 private:
  /// Makes permutation_ that of `epoch`: Fisher-Yates on draws of Purpose::kDataOrder, step =
  /// epoch.
  void use_epoch(int64_t epoch) const;

  uint64_t seed_;
  int64_t size_;  // clips of the dataset
  Shard shard_;
  // The permutation last asked for, kept because batches follow one another in an epoch. Several
  // threads read batches, hence the mutex.
  mutable std::mutex mutex_;
  mutable int64_t epoch_ = -1;
  mutable std::vector<int64_t> permutation_;
};

}  // namespace vmla::data
