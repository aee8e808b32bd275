#include <ATen/ATen.h>

#include "kernels/rope_3d/rope_3d.h"

namespace vmla::kernels {

at::Tensor apply_rope_reference(const at::Tensor& x_BLNK,
                                const RopeTable& table,
                                int64_t first_channel) {
  const int64_t num_pairs = table.cos.size(1);
  const int64_t end_channel = first_channel + 2 * num_pairs;
  const at::Tensor pairs = x_BLNK.narrow(-1, first_channel, 2 * num_pairs)
                               .to(table.cos.scalar_type())
                               .unflatten(-1, {num_pairs, 2});
  const at::Tensor a = pairs.select(-1, 0);
  const at::Tensor b = pairs.select(-1, 1);
  const at::Tensor cos = table.cos.unsqueeze(1);  // [L, 1, num_pairs], the same for every head
  const at::Tensor sin = table.sin.unsqueeze(1);
  const at::Tensor rotated = at::stack({a * cos - b * sin, a * sin + b * cos}, -1).flatten(-2);
  return at::cat({x_BLNK.narrow(-1, 0, first_channel),
                  rotated.to(x_BLNK.scalar_type()),
                  x_BLNK.narrow(-1, end_channel, x_BLNK.size(-1) - end_channel)},
                 -1);
}

}  // namespace vmla::kernels
