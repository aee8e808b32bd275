#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The header of a safetensors file, read and written without LibTorch, so that it can be fuzzed.
/// Format: 8 bytes little-endian length, that many bytes of JSON, then the tensors' bytes without
/// gaps.
namespace vmla::io {

enum class StoredType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// The format's name of a type ("F32", "BF16", "BOOL") and its size.
std::string_view stored_type_name(StoredType type);
uint64_t stored_type_bytes(StoredType type);

/// Bytes of a tensor of this shape; none where a size is negative or the product overflows. Sizes
/// beside a zero are multiplied too, because LibTorch's strides are their products.
std::optional<uint64_t> stored_bytes(StoredType type, const std::vector<int64_t>& shape);

struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes, from the start of the data
};

struct SafetensorsHeader {
  uint64_t data_start = 0;            // bytes from the start of the file
  std::vector<StoredTensor> tensors;  // ascending in `begin`; together they cover all of the data
  std::map<std::string, std::string> metadata;
};

/// Reads and checks the header of `file`, the bytes of a whole safetensors file (only the header is
/// touched). UserError names `file_name`, the tensor and what is wrong: header length, JSON, an
/// unknown dtype, duplicate or unexpected keys, a shape that does not fit its byte range, overlaps,
/// holes, a truncated or longer file.
SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& file_name);

/// Orders `tensors` by falling element size, then name (so that every tensor is aligned without
/// padding), sets their byte ranges, and returns the first bytes of the file: length and JSON,
/// padded with blanks to a multiple of 8. Names must be unique UTF-8.
std::string lay_out_safetensors(std::vector<StoredTensor>& tensors,
                                const std::map<std::string, std::string>& metadata);

}  // namespace vmla::io
