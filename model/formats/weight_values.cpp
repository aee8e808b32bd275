#include "model/formats/weight_values.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <cstdint>

#include "model/formats/stored_types.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace {

/// How many of the numbers have all bits of the exponent set, as NaN and infinity have and no
/// other.
template <class Bits>
int64_t count_bad(const at::Tensor& dense, Bits exponent) {
  const auto* const bits = static_cast<const Bits*>(dense.const_data_ptr());
  constexpr int64_t kGrain = 1 << 16;
  std::atomic<int64_t> bad = 0;
  at::parallel_for(0, dense.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kGrain) {
      const int64_t last = std::min(end, first + kGrain);
      // One bit a number is enough to see that there is none, which is nearly always so.
      Bits any = 0;
      for (int64_t i = first; i < last; ++i) any |= (bits[i] & exponent) == exponent;
      if (!any) continue;
      for (int64_t i = first; i < last; ++i) bad += (bits[i] & exponent) == exponent;
    }
  });
  return bad;
}

int64_t count_bad(const at::Tensor& dense) {
  switch (dense.scalar_type()) {
    case at::kFloat:
      return count_bad<uint32_t>(dense, 0x7F800000U);
    case at::kBFloat16:
      return count_bad<uint16_t>(dense, 0x7F80U);
    case at::kHalf:
      return count_bad<uint16_t>(dense, 0x7C00U);
    default:
      return count_bad<uint64_t>(dense, 0x7FF0000000000000U);
  }
}

bool is_usable_type(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf || type == at::kDouble;
}

}  // namespace

void check_weight_values(const std::string& name,
                         const at::Tensor& tensor,
                         const std::string& source) {
  if (!is_usable_type(tensor.scalar_type())) {
    fail_user("{}: tensor {} is {}; weights must be F32, F16, BF16 or F64, no quantised copy",
              source,
              io::quoted_name(name),
              type_name(tensor.scalar_type()));
  }
  // torch.save keeps strides; in whatever order, the numbers are there one after another.
  const bool is_dense = tensor.is_non_overlapping_and_dense();
  const int64_t bad = count_bad(is_dense ? tensor : tensor.contiguous());
  if (bad == 0) return;
  fail_user("{}: {} of {} elements of tensor {} are NaN or infinite; these weights cannot be used",
            source,
            bad,
            tensor.numel(),
            io::quoted_name(name));
}

}  // namespace vmla::model
