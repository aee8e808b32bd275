#include "model/io/pickle_names.h"

#include <algorithm>
#include <iterator>

namespace vmla::io {
namespace {

using Meaning = PickleMeaning;

constexpr PickleName kNames[] = {
    {"collections", "OrderedDict", Meaning::dict},
    {"torch", "Size", Meaning::list},
    {"torch._utils", "_rebuild_tensor_v2", Meaning::tensor},
    {"torch._utils", "_rebuild_tensor_v3", Meaning::tensor_of_dtype},
    {"torch._utils", "_rebuild_parameter", Meaning::parameter},
    {"torch._utils", "_rebuild_parameter_with_state", Meaning::parameter},
    {"torch", "FloatStorage", Meaning::storage, {"float32", 4}},
    {"torch", "BFloat16Storage", Meaning::storage, {"bfloat16", 2}},
    {"torch", "HalfStorage", Meaning::storage, {"float16", 2}},
    {"torch", "DoubleStorage", Meaning::storage, {"float64", 8}},
    {"torch", "LongStorage", Meaning::storage, {"int64", 8}},
    {"torch", "IntStorage", Meaning::storage, {"int32", 4}},
    {"torch", "ShortStorage", Meaning::storage, {"int16", 2}},
    {"torch", "CharStorage", Meaning::storage, {"int8", 1}},
    {"torch", "ByteStorage", Meaning::storage, {"uint8", 1}},
    {"torch", "BoolStorage", Meaning::storage, {"bool", 1}},
    {"torch", "ComplexFloatStorage", Meaning::storage, {"complex64", 8}},
    {"torch", "ComplexDoubleStorage", Meaning::storage, {"complex128", 16}},
    {"torch", "UntypedStorage", Meaning::storage},
    {"torch.storage", "UntypedStorage", Meaning::storage},
    {"torch", "float32", Meaning::dtype, {"float32", 4}},
    {"torch", "bfloat16", Meaning::dtype, {"bfloat16", 2}},
    {"torch", "float16", Meaning::dtype, {"float16", 2}},
    {"torch", "float64", Meaning::dtype, {"float64", 8}},
    {"torch", "int64", Meaning::dtype, {"int64", 8}},
    {"torch", "int32", Meaning::dtype, {"int32", 4}},
    {"torch", "int16", Meaning::dtype, {"int16", 2}},
    {"torch", "int8", Meaning::dtype, {"int8", 1}},
    {"torch", "uint8", Meaning::dtype, {"uint8", 1}},
    {"torch", "bool", Meaning::dtype, {"bool", 1}},
    {"torch", "complex64", Meaning::dtype, {"complex64", 8}},
    {"torch", "complex128", Meaning::dtype, {"complex128", 16}},
    {"torch", "uint16", Meaning::dtype, {"uint16", 2}},
    {"torch", "uint32", Meaning::dtype, {"uint32", 4}},
    {"torch", "uint64", Meaning::dtype, {"uint64", 8}},
    {"torch", "float8_e4m3fn", Meaning::dtype, {"float8_e4m3fn", 1}},
    {"torch", "float8_e5m2", Meaning::dtype, {"float8_e5m2", 1}},
    {"torch", "float8_e4m3fnuz", Meaning::dtype, {"float8_e4m3fnuz", 1}},
    {"torch", "float8_e5m2fnuz", Meaning::dtype, {"float8_e5m2fnuz", 1}},
    {"torch", "float8_e8m0fnu", Meaning::dtype, {"float8_e8m0fnu", 1}},
    {"torch", "device", Meaning::harmless},
    {"_codecs", "encode", Meaning::harmless},
    {"collections", "Counter", Meaning::harmless},
    {"builtins", "set", Meaning::harmless},
    {"__builtin__", "set", Meaning::harmless},
};

}  // namespace

std::optional<uint32_t> find_pickle_name(std::string_view module, std::string_view name) {
  const auto* const found = std::ranges::find_if(kNames, [&](const PickleName& known) {
    return known.module == module && known.name == name;
  });
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<uint32_t>(found - std::begin(kNames));
}

const PickleName& pickle_name(uint32_t number) {
  return kNames[number];
}

}  // namespace vmla::io
