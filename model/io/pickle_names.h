#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/io/pickle.h"

/// The names of Python objects that a pickle may have: those that torch.save writes for dicts of
/// tensors. Nothing is looked up in Python, and nothing called.
namespace vmla::io {

/// What a name means to the reader.
enum class PickleMeaning : uint8_t {
  dict,             // collections.OrderedDict
  list,             // torch.Size
  tensor,           // _rebuild_tensor_v2: the type is that of the storage
  tensor_of_dtype,  // _rebuild_tensor_v3: the type stands behind
  parameter,        // its first argument is a tensor
  storage,
  dtype,
  harmless,  // made of values that are of no use to us
};

struct PickleName {
  std::string_view module, name;
  PickleMeaning meaning;
  TorchType type = {};  // of a storage or dtype; a storage of bytes has none
};

/// The number of a name for pickle_name(); none for one that is not in the list.
std::optional<uint32_t> find_pickle_name(std::string_view module, std::string_view name);
const PickleName& pickle_name(uint32_t number);

}  // namespace vmla::io
