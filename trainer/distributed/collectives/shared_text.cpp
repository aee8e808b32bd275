#include "trainer/distributed/collectives/shared_text.h"

#include <ATen/ATen.h>

#include <cstring>

namespace vmla::distributed {

std::string shared_text(Communicator& group, const std::string& mine, int64_t root) {
  const at::Tensor size = at::full({1}, static_cast<int64_t>(mine.size()), at::kLong);
  group.broadcast(size, root).wait();
  std::string text(static_cast<size_t>(size.item<int64_t>()), '\0');
  if (text.empty()) return text;
  const at::Tensor bytes = at::empty({size.item<int64_t>()}, at::kByte);
  if (group.rank() == root) std::memcpy(bytes.mutable_data_ptr(), mine.data(), mine.size());
  group.broadcast(bytes, root).wait();
  std::memcpy(text.data(), bytes.const_data_ptr(), text.size());
  return text;
}

}  // namespace vmla::distributed
