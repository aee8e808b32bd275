#include "model/formats/stored_types.h"

#include <ATen/ATen.h>

#include <utility>

namespace vmla::model {
namespace {

constexpr std::pair<io::StoredType, at::ScalarType> kTypes[] = {
    {io::StoredType::f64, at::kDouble},
    {io::StoredType::f32, at::kFloat},
    {io::StoredType::f16, at::kHalf},
    {io::StoredType::bf16, at::kBFloat16},
    {io::StoredType::i64, at::kLong},
    {io::StoredType::i32, at::kInt},
    {io::StoredType::i16, at::kShort},
    {io::StoredType::i8, at::kChar},
    {io::StoredType::u8, at::kByte},
    {io::StoredType::boolean, at::kBool},
};

}  // namespace

at::ScalarType scalar_type_of(io::StoredType type) {
  for (const auto& [stored, scalar] : kTypes) {
    if (stored == type) return scalar;
  }
  TORCH_INTERNAL_ASSERT(false, "a stored type without a scalar type");
}

io::StoredType stored_type_of(const std::string& name, at::ScalarType type) {
  for (const auto& [stored, scalar] : kTypes) {
    if (scalar == type) return stored;
  }
  TORCH_CHECK(false, "safetensors has no type for ", type, " of tensor ", name);
}

std::string type_name(at::ScalarType type) {
  for (const auto& [stored, scalar] : kTypes) {
    if (scalar == type) return std::string(io::stored_type_name(stored));
  }
  return at::toString(type);
}

}  // namespace vmla::model
