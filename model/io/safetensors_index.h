#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

/// The index of a safetensors export of several files, without LibTorch, so that it can be fuzzed.
namespace vmla::io {

/// Reads a `*.safetensors.index.json`: tensor name to the file that holds it. UserError if it is no
/// such index or names a file outside its folder.
std::map<std::string, std::string> parse_safetensors_index(std::string_view text,
                                                           const std::string& file_name);

/// Writes such an index.
std::string safetensors_index_json(const std::map<std::string, std::string>& weight_map,
                                   uint64_t total_bytes);

}  // namespace vmla::io
