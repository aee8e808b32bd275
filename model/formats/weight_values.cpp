#include "model/formats/weight_values.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>

#include "model/formats/stored_types.h"
#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::model {
namespace {

/// NaN and infinity have all bits of the exponent set, and nothing else has.
template <class Bits>
int64_t count_bad(const Bits* bits, int64_t count, Bits exponent) {
  int64_t bad = 0;
  for (int64_t i = 0; i < count; ++i) bad += (bits[i] & exponent) == exponent;
  return bad;
}

/// Whether any of the numbers is such a one, eight bytes at a time: where all bits of an exponent
/// are set, adding its lowest carries into the sign, of which nothing is left before.
template <class Bits>
bool has_bad(const Bits* bits, int64_t count, Bits exponent) {
  constexpr int64_t kLanes = 8 / static_cast<int64_t>(sizeof(Bits));
  constexpr uint64_t kOnes = ~uint64_t{0} / std::numeric_limits<Bits>::max();  // 1 in every lane
  const uint64_t exponents = kOnes * exponent, lowest = exponents & ~(exponents << 1);
  const uint64_t signs = kOnes << (8 * sizeof(Bits) - 1);
  uint64_t carried = 0;
  for (int64_t i = 0; i + kLanes <= count; i += kLanes) {
    uint64_t word = 0;
    std::memcpy(&word, bits + i, sizeof(word));
    carried |= (word & exponents) + lowest;
  }
  const int64_t rest = count % kLanes;
  return (carried & signs) != 0 || count_bad(bits + count - rest, rest, exponent) > 0;
}

template <class Bits>
int64_t count_bad(const at::Tensor& dense, Bits exponent) {
  const auto* const bits = static_cast<const Bits*>(dense.const_data_ptr());
  constexpr int64_t kGrain = 1 << 18;
  std::atomic<int64_t> bad = 0;
  at::parallel_for(0, dense.numel(), kGrain, [&](int64_t begin, int64_t end) {
    if (has_bad(bits + begin, end - begin, exponent)) {
      bad += count_bad(bits + begin, end - begin, exponent);
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
