#include "data/loading/bucket_order.h"

#include <c10/util/Exception.h>

#include <numeric>
#include <utility>

namespace vmla::data {

BucketOrder::BucketOrder(std::vector<int64_t> sizes)
    : sizes_(std::move(sizes)), used_(sizes_.size(), 0) {
  TORCH_CHECK(!sizes_.empty(), "an order needs a bucket");
  for (const int64_t size : sizes_) TORCH_CHECK(size > 0, "a bucket needs clips, got ", size);
  // The same shares in the smallest whole numbers, so that the order repeats soonest.
  int64_t common = 0;
  for (const int64_t size : sizes_) common = std::gcd(common, size);
  for (int64_t& size : sizes_) size /= common;
  total_ = std::accumulate(sizes_.begin(), sizes_.end(), int64_t{0});
}

void BucketOrder::extend() {
  const auto steps = static_cast<int64_t>(turns_.size()) + 1;
  // What a bucket lacks of its share after this step, times total_, so that it is a whole number.
  const auto behind = [&](size_t bucket) {
    return sizes_[bucket] * steps - used_[bucket] * total_;
  };
  size_t next = 0;
  for (size_t bucket = 1; bucket < sizes_.size(); ++bucket) {
    if (behind(bucket) > behind(next)) next = bucket;
  }
  turns_.push_back({next, used_[next]++});
}

BucketOrder::Turn BucketOrder::at(int64_t step) {
  TORCH_CHECK(step >= 0, "no step ", step);
  // After total_ steps every bucket has had exactly its share.
  const int64_t round = step / total_, within = step % total_;
  while (static_cast<int64_t>(turns_.size()) <= within) extend();
  Turn turn = turns_[static_cast<size_t>(within)];
  turn.earlier += round * sizes_[turn.bucket];
  return turn;
}

}  // namespace vmla::data
