#include "data/loading/shard_sampler.h"

#include <ATen/ATen.h>

#include <numeric>
#include <utility>

#include "kernels/counter_rng/counter_rng.h"

namespace vmla::data {

ShardSampler::ShardSampler(uint64_t seed, int64_t dataset_size, Shard shard)
    : seed_(seed), size_(dataset_size), shard_(shard) {
  TORCH_CHECK(dataset_size > 0, "a sampler needs a dataset with clips, got ", dataset_size);
  TORCH_CHECK(
      shard.index >= 0 && shard.index < shard.count, "no shard ", shard.index, " of ", shard.count);
}

void ShardSampler::use_epoch(int64_t epoch) const {
  if (epoch == epoch_) return;
  permutation_.resize(static_cast<size_t>(size_));
  std::iota(permutation_.begin(), permutation_.end(), 0);
  const kernels::DrawKey key{.seed = seed_,
                             .step = static_cast<uint64_t>(epoch),
                             .purpose = kernels::Purpose::kDataOrder,
                             .role = 0,
                             .sample = 0};
  for (int64_t i = size_ - 1; i > 0; --i) {
    const int64_t j = kernels::uniform_index(key, i + 1, static_cast<uint64_t>(i));
    std::swap(permutation_[static_cast<size_t>(i)], permutation_[static_cast<size_t>(j)]);
  }
  epoch_ = epoch;
}

std::vector<int64_t> ShardSampler::indices(int64_t first, int64_t count) const {
  TORCH_CHECK(first >= 0 && count >= 0, "no samples [", first, ", ", first + count, ")");
  std::vector<int64_t> out;
  out.reserve(static_cast<size_t>(count));
  const std::lock_guard lock(mutex_);
  for (int64_t position = first; position < first + count; ++position) {
    use_epoch(position / size_);
    out.push_back(permutation_[static_cast<size_t>(position % size_)]);
  }
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
