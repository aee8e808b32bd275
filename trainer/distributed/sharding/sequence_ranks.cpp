#include "trainer/distributed/sharding/sequence_ranks.h"

#include <ATen/ATen.h>

namespace vmla::distributed {

at::Tensor SequenceRanks::all_gather(const at::Tensor& part) {
  std::vector<int64_t> sizes = part.sizes().vec();
  sizes.insert(sizes.begin(), size());
  const at::Tensor whole = at::empty(sizes, part.options());
  ranks_.all_gather(whole, part.contiguous()).wait();
  return whole;
}

at::Tensor SequenceRanks::reduce_scatter(const at::Tensor& whole) {
  const at::Tensor part = at::empty(whole.sizes().slice(1), whole.options());
  // A copy: an engine may sum in place, and autograd may hand the same gradient to others.
  ranks_.reduce_scatter(part, whole.clone(at::MemoryFormat::Contiguous)).wait();
  return part;
}

at::Tensor SequenceRanks::all_to_all(const at::Tensor& sent) {
  const at::Tensor received = at::empty(sent.sizes(), sent.options());
  ranks_.all_to_all(received, sent.contiguous()).wait();
  return received;
}

}  // namespace vmla::distributed
