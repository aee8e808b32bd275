#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// Python's pickle, as far as torch.save needs it for dicts of tensors. A pickle is a program for a
/// stack machine, and Python's own reader calls whatever function it names. This one only builds
/// values: it calls nothing, knows a closed list of names and refuses every other. Without
/// LibTorch, so that it can be fuzzed.
namespace vmla::io {

/// A type of numbers in PyTorch: "bfloat16", and the bytes of one.
struct TorchType {
  std::string_view name;
  uint64_t bytes = 0;
};

/// Memory that tensors look into: the file `data/KEY` of the archive around the pickle.
struct PickledStorage {
  std::string_view key;
  TorchType type;      // with an empty name: bytes
  uint64_t count = 0;  // of elements
};

struct PickledTensor {
  PickledStorage storage;
  TorchType type;
  uint64_t offset = 0;  // of its first element in the storage, in elements
  std::vector<uint64_t> shape, stride;
};

enum class PickleKind : uint8_t {
  none,
  boolean,
  integer,
  real,
  text,
  list,  // or tuple or torch.Size
  dict,
  storage,
  tensor,
  type,   // one of the names that are known
  other,  // bytes, a set, a device, a whole number of more than 64 bits: of no use to us
};

/// Number of a value in Pickle::values. Values may be in several places, and inside themselves.
using PickleId = uint32_t;

struct PickleValue {
  PickleKind kind = PickleKind::none;
  /// Text lies in the pickle's bytes. Ids are the items of a list, or key and value by turns. The
  /// last is the number in Pickle::storages or tensors, or of the known name.
  std::variant<std::monostate,
               bool,
               int64_t,
               double,
               std::string_view,
               std::vector<PickleId>,
               uint32_t>
      content;

  const std::vector<PickleId>& items() const { return std::get<std::vector<PickleId>>(content); }
  std::string_view text() const { return std::get<std::string_view>(content); }
  int64_t integer() const { return std::get<int64_t>(content); }
};

struct Pickle {
  std::vector<PickleValue> values;
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;
  PickleId root = 0;

  const PickledTensor& tensor(const PickleValue& value) const {
    return tensors[std::get<uint32_t>(value.content)];
  }
};

/// Reads a pickle of protocol 2 to 5. The result refers to `bytes`, and takes at most a small
/// multiple of their memory. UserError names `file_name` and the byte: an unknown name, an
/// instruction that torch.save does not write, arguments of another kind than they should be,
/// truncation. Whether a tensor lies inside its storage is left to the caller, who knows its name.
Pickle parse_pickle(std::string_view bytes, const std::string& file_name);

}  // namespace vmla::io
