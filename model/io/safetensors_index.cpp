#include "model/io/safetensors_index.h"

#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"

#include <nlohmann/json.hpp>

namespace vmla::io {

using Json = nlohmann::json;

std::map<std::string, std::string> parse_safetensors_index(std::string_view text,
                                                           const std::string& file_name) {
  const Json json = parse_json<Json>(text, file_name);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    fail_user("{}: not a safetensors index (a JSON object with \"weight_map\")", file_name);
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& [name, file] : json["weight_map"].items()) {
    if (!file.is_string())
      fail_user("{}: weight_map of {} is not a file name", file_name, quoted_name(name));
    const std::string shard = file.get<std::string>();
    if (shard.empty() || shard.find('/') != std::string::npos || shard == "." || shard == "..") {
      fail_user("{}: tensor {} is said to be in {}; a file of the same folder is needed",
                file_name,
                quoted_name(name),
                quoted_name(shard));
    }
    weight_map.emplace(name, shard);
  }
  if (weight_map.empty()) fail_user("{}: weight_map is empty", file_name);
  return weight_map;
}

std::string safetensors_index_json(const std::map<std::string, std::string>& weight_map,
                                   uint64_t total_bytes) {
  const Json json = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  return json.dump(2) + "\n";
}

}  // namespace vmla::io
