#include "data/loading/shard_sampler.h"

#include <ATen/ATen.h>

#include <numeric>
#include <utility>

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::data {

namespace {

std::vector<int64_t> sizes_of(const std::vector<Bucket>& buckets) {
  std::vector<int64_t> sizes;
  for (const Bucket& bucket : buckets) sizes.push_back(clip_count(bucket));
  return sizes;
}

}  // namespace

ShardSampler::ShardSampler(uint64_t seed,
                           std::vector<Bucket> buckets,
                           int64_t global_batch,
                           Shard shard)
    : seed_(seed),
      buckets_(std::move(buckets)),
      sizes_(sizes_of(buckets_)),
      size_(std::accumulate(sizes_.begin(), sizes_.end(), int64_t{0})),
      global_batch_(global_batch),
      shard_(shard),
      order_(sizes_),
      epochs_(buckets_.size()) {
  TORCH_CHECK(global_batch > 0, "a batch needs samples, got ", global_batch);
  TORCH_CHECK(
      shard.index >= 0 && shard.index < shard.count, "no shard ", shard.index, " of ", shard.count);
}

const std::vector<int64_t>& ShardSampler::epoch_of(size_t bucket, int64_t epoch) const {
  Epoch& kept = epochs_[bucket];
  if (epoch == kept.number) return kept.clips;
  kept.clips.clear();
  for (const ClipRange& range : buckets_[bucket]) {
    for (int64_t clip = range.first; clip < range.end; ++clip) kept.clips.push_back(clip);
  }
  const kernels::DrawKey key{.seed = seed_,
                             .step = static_cast<uint64_t>(epoch),
                             .purpose = kernels::Purpose::kDataOrder,
                             .role = static_cast<uint32_t>(bucket),
                             .sample = 0};
  for (int64_t i = sizes_[bucket] - 1; i > 0; --i) {
    const int64_t j = kernels::uniform_index(key, i + 1, static_cast<uint64_t>(i));
    std::swap(kept.clips[static_cast<size_t>(i)], kept.clips[static_cast<size_t>(j)]);
  }
  kept.number = epoch;
  return kept.clips;
}

int64_t ShardSampler::clip(int64_t sample) const {
  size_t bucket = 0;
  int64_t place = sample;  // in the bucket's own order
  if (buckets_.size() > 1) {
    const BucketOrder::Turn turn = order_.at(sample / global_batch_);
    bucket = turn.bucket;
    place = turn.earlier * global_batch_ + sample % global_batch_;
  }
  const int64_t size = sizes_[bucket];
  return epoch_of(bucket, place / size)[static_cast<size_t>(place % size)];
}

size_t ShardSampler::bucket(int64_t sample) const {
  if (buckets_.size() == 1) return 0;
  const std::lock_guard lock(mutex_);
  return order_.at(sample / global_batch_).bucket;
}

std::vector<int64_t> ShardSampler::indices(int64_t first, int64_t count) const {
  TORCH_CHECK(first >= 0 && count >= 0, "no samples [", first, ", ", first + count, ")");
  std::vector<int64_t> out;
  out.reserve(static_cast<size_t>(count));
  const std::lock_guard lock(mutex_);
  for (int64_t sample = first; sample < first + count; ++sample) out.push_back(clip(sample));
  return out;
}

int64_t ShardSampler::shard_batch(int64_t global_batch) const {
  TORCH_CHECK(global_batch > 0 && global_batch % shard_.count == 0,
              "a global batch must divide by the ",
              shard_.count,
              " shards, got ",
              global_batch);
  return global_batch / shard_.count;
}

int64_t ShardSampler::shard_first(int64_t position, int64_t global_batch) const {
  return position + shard_.index * shard_batch(global_batch);
}

}  // namespace vmla::data
