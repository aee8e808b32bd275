#include "model/formats/torch_file.h"

#include <ATen/ATen.h>

#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "model/io/mapped_file.h"
#include "model/io/torch_archive.h"

namespace vmla::model {
namespace {

constexpr std::pair<std::string_view, at::ScalarType> kTypes[] = {
    {"float32", at::kFloat},
    {"bfloat16", at::kBFloat16},
    {"float16", at::kHalf},
    {"float64", at::kDouble},
    {"int64", at::kLong},
    {"int32", at::kInt},
    {"int16", at::kShort},
    {"int8", at::kChar},
    {"uint8", at::kByte},
    {"bool", at::kBool},
    {"complex64", at::kComplexFloat},
    {"complex128", at::kComplexDouble},
    {"uint16", at::kUInt16},
    {"uint32", at::kUInt32},
    {"uint64", at::kUInt64},
    {"float8_e4m3fn", at::kFloat8_e4m3fn},
    {"float8_e5m2", at::kFloat8_e5m2},
    {"float8_e4m3fnuz", at::kFloat8_e4m3fnuz},
    {"float8_e5m2fnuz", at::kFloat8_e5m2fnuz},
    {"float8_e8m0fnu", at::kFloat8_e8m0fnu},
};

at::ScalarType scalar_type_named(std::string_view name) {
  for (const auto& [known, type] : kTypes) {
    if (known == name) return type;
  }
  TORCH_INTERNAL_ASSERT(false, "a type of torch.save without a scalar type: ", name);
}

/// Bytes from the first element to behind the last.
uint64_t extent(const io::TorchTensor& tensor) {
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    if (tensor.shape[i] == 0) return 0;
    last += (tensor.shape[i] - 1) * tensor.stride[i];
  }
  return (static_cast<uint64_t>(last) + 1) * tensor.type.bytes;
}

at::Tensor tensor_at(const std::shared_ptr<io::MappedFile>& file, const io::TorchTensor& tensor) {
  const at::ScalarType type = scalar_type_named(tensor.type.name);
  const uint64_t bytes = extent(tensor);
  if (bytes == 0) return at::empty(tensor.shape, type);
  char* const data = file->data() + tensor.begin;
  if (type == at::kBool) {
    // Any byte may stand in a file, but a C++ bool other than 0 and 1 is undefined.
    return at::from_blob(data, tensor.shape, tensor.stride, at::kByte).ne(0);
  }
  if (reinterpret_cast<uintptr_t>(data) % tensor.type.bytes != 0) {
    const at::Tensor copy = at::empty({static_cast<int64_t>(bytes)}, at::kByte);
    std::memcpy(copy.mutable_data_ptr(), data, bytes);
    return at::from_blob(
        copy.mutable_data_ptr(), tensor.shape, tensor.stride, [copy](void*) {}, type);
  }
  return at::from_blob(data, tensor.shape, tensor.stride, [file](void*) {}, type);
}

}  // namespace

TorchFile read_torch_file(const std::filesystem::path& path) {
  const auto file = std::make_shared<io::MappedFile>(path);
  io::TorchArchive archive = io::parse_torch_archive(file->view(), path.string());
  TorchFile out;
  out.others = std::move(archive.others);
  for (const io::TorchTensor& tensor : archive.tensors) {
    out.tensors.emplace(tensor.name, tensor_at(file, tensor));
  }
  return out;
}

}  // namespace vmla::model
