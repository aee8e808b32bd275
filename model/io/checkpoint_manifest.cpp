#include "model/io/checkpoint_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"
#include "model/io/sha256.h"
#include "model/io/shortened.h"

namespace vmla::io {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;  // written in the order of the code
using Document = nlohmann::json;      // read: members found by name in logarithmic time

constexpr std::string_view kFormat = "vmla checkpoint";
constexpr std::string_view kHashKey = "\"manifest_sha256\": \"";
constexpr size_t kHashDigits = 64;

StoredType type_named(const std::string& name, const std::string& where) {
  for (const StoredType type : {StoredType::f64,
                                StoredType::f32,
                                StoredType::f16,
                                StoredType::bf16,
                                StoredType::i64,
                                StoredType::i32,
                                StoredType::i16,
                                StoredType::i8,
                                StoredType::u8,
                                StoredType::boolean}) {
    if (stored_type_name(type) == name) return type;
  }
  fail_user("{} has the unknown dtype {}", where, quoted_name(name));
}

/// The hash of `text` with the digits of its own hash field as zeros; empty if it has no such
/// field.
std::string self_hash(std::string text) {
  const size_t key = text.find(kHashKey);
  if (key == std::string::npos || key + kHashKey.size() + kHashDigits > text.size()) return {};
  text.replace(key + kHashKey.size(), kHashDigits, kHashDigits, '0');
  return sha256_hex(text.data(), text.size());
}

/// A whole number from `least` on. JSON knows no other numbers than these and floats, whose
/// conversion would round or overflow without a word.
int64_t whole(const Document& value, const std::string& where, int64_t least = 0) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t{INT64_MAX});
  if (!fits || value.get<int64_t>() < least) {
    fail_user("{} is {}; a whole number from {} to {} is needed",
              where,
              shortened(value.dump()),
              least,
              INT64_MAX);
  }
  return value.get<int64_t>();
}

uint64_t count_of(const Document& value, const std::string& where) {
  return static_cast<uint64_t>(whole(value, where));
}

Json files_json(const std::map<std::string, ManifestFile>& files) {
  Json json = Json::object();
  for (const auto& [name, file] : files) {
    json[name] = {{"bytes", file.bytes}, {"sha256", file.sha256}};
  }
  return json;
}

std::map<std::string, ManifestFile> files_of(const Document& json, const std::string& file_name) {
  std::map<std::string, ManifestFile> files;
  for (const auto& [name, file] : json.items()) {
    files[name] = {
        count_of(file.at("bytes"), formatted("{}: bytes of {}", file_name, quoted_name(name))),
        file.at("sha256").get<std::string>()};
  }
  return files;
}

Json tensor_json(const ManifestTensor& tensor) {
  Json pieces = Json::array();
  for (const ManifestPiece& piece : tensor.pieces) {
    pieces.push_back({{"file", piece.file},
                      {"offset", piece.offset},
                      {"first", piece.first},
                      {"count", piece.count}});
  }
  return {{"dtype", stored_type_name(tensor.type)}, {"shape", tensor.shape}, {"pieces", pieces}};
}

/// The pieces are sorted here; check_pieces checks that they fit together.
ManifestTensor tensor_of(const Document& json, const std::string& where) {
  ManifestTensor tensor;
  tensor.type = type_named(json.at("dtype").get<std::string>(), where);
  for (const Document& size : json.at("shape"))
    tensor.shape.push_back(whole(size, where + ": a size of its shape"));
  if (!stored_bytes(tensor.type, tensor.shape)) fail_user("{} has an impossible shape", where);
  for (const Document& piece : json.at("pieces")) {
    tensor.pieces.push_back({piece.at("file").get<std::string>(),
                             count_of(piece.at("offset"), where + ": offset"),
                             count_of(piece.at("first"), where + ": first"),
                             count_of(piece.at("count"), where + ": count")});
  }
  std::ranges::sort(tensor.pieces, {}, &ManifestPiece::first);
  return tensor;
}

/// A name that stays inside its folder.
bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

/// UserError unless the pieces hold every element exactly once and lie inside their files.
void check_pieces(const ManifestTensor& tensor,
                  const std::map<std::string, ManifestFile>& files,
                  const std::string& where) {
  // tensor_of has refused shapes that overflow.
  uint64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= static_cast<uint64_t>(size);
  uint64_t next = 0;
  for (const ManifestPiece& piece : tensor.pieces) {
    if (piece.first > next) {
      fail_user("{} lacks elements {} to {}", where, next, piece.first - 1);
    }
    if (piece.first < next) {
      fail_user("{} has twice the elements {} to {}", where, piece.first, next - 1);
    }
    const auto file = files.find(piece.file);
    if (file == files.end())
      fail_user("{} is in {}, which is not listed", where, quoted_name(piece.file));
    uint64_t bytes = 0, end = 0;
    if (__builtin_mul_overflow(piece.count, stored_type_bytes(tensor.type), &bytes) ||
        __builtin_add_overflow(piece.offset, bytes, &end) || end > file->second.bytes ||
        __builtin_add_overflow(next, piece.count, &next)) {
      fail_user("{} reaches beyond the end of {}", where, piece.file);
    }
  }
  if (next != elements) fail_user("{} holds {} of its {} elements", where, next, elements);
}

CheckpointManifest manifest_of(const Document& json, const std::string& file_name) {
  CheckpointManifest manifest;
  manifest.format_version = whole(json.at("format_version"), file_name + ": format_version");
  manifest.step = whole(json.at("step"), file_name + ": step");
  manifest.stage = json.at("stage").get<std::string>();
  for (const auto& [key, value] : json.at("counters").items()) {
    manifest.counters[key] =
        whole(value, formatted("{}: counter {}", file_name, quoted_name(key)), INT64_MIN);
  }
  for (const auto& [key, value] : json.at("data_position").items()) {
    if (value.is_string()) {
      manifest.data_position[key] = value.get<std::string>();
    } else {
      const std::string where = formatted("{}: data_position {}", file_name, quoted_name(key));
      manifest.data_position[key] = whole(value, where, INT64_MIN);  // a seed may be negative
    }
  }
  manifest.config_yaml = json.at("config").get<std::string>();
  if (json.contains("model")) manifest.model_json = json.at("model").dump();
  if (json.at("hash_algorithm") != "sha256") {
    fail_user("{}: hash_algorithm {}; sha256 is needed",
              file_name,
              quoted_name(json.at("hash_algorithm").dump()));
  }
  manifest.files = files_of(json.at("files"), file_name);
  for (const auto& [name, file] : manifest.files) {
    if (!is_plain_file_name(name))
      fail_user("{}: a file outside the folder: {}", file_name, quoted_name(name));
  }
  for (const auto& [role_name, role_json] : json.at("roles").items()) {
    ManifestRole& role = manifest.roles[role_name];
    if (role_json.contains("model")) role.model_json = role_json.at("model").dump();
    for (const auto& [name, tensor] : role_json.at("tensors").items()) {
      const std::string where =
          formatted("{}: tensor {} of {}", file_name, quoted_name(name), quoted_name(role_name));
      role.tensors[name] = tensor_of(tensor, where);
      check_pieces(role.tensors[name], manifest.files, where);
    }
  }
  return manifest;
}

}  // namespace

std::string manifest_text(const CheckpointManifest& manifest) {
  Json json;
  json["format"] = kFormat;
  json["format_version"] = manifest.format_version;
  // Before any text that the user chose, so that self_hash finds this field and no other.
  json["manifest_sha256"] = std::string(kHashDigits, '0');
  json["hash_algorithm"] = "sha256";
  json["step"] = manifest.step;
  json["stage"] = manifest.stage;
  json["counters"] = manifest.counters;
  json["data_position"] = Json::object();
  for (const auto& [key, value] : manifest.data_position) {
    std::visit([&, &name = key](const auto& v) { json["data_position"][name] = v; }, value);
  }
  if (!manifest.model_json.empty()) json["model"] = parse_json<Json>(manifest.model_json, "model");
  json["config"] = manifest.config_yaml;
  json["files"] = files_json(manifest.files);
  json["roles"] = Json::object();
  for (const auto& [role_name, role] : manifest.roles) {
    Json& role_json = json["roles"][role_name];
    if (!role.model_json.empty()) role_json["model"] = parse_json<Json>(role.model_json, "model");
    std::map<std::string, Json> tensors;  // ordered_json would search all names at each insertion
    for (const auto& [name, tensor] : role.tensors) tensors[name] = tensor_json(tensor);
    role_json["tensors"] = tensors;
  }
  std::string text = json.dump(1) + "\n";
  text.replace(text.find(kHashKey) + kHashKey.size(), kHashDigits, self_hash(text));
  return text;
}

CheckpointManifest parse_manifest(std::string_view text, const std::string& file_name) {
  const auto json = parse_json<Document>(text, file_name);
  if (!json.is_object() || json.value("format", Document()) != kFormat) {
    fail_user("{}: not the manifest of a checkpoint, or incomplete", file_name);
  }
  // The version comes first: a later one may hash itself differently.
  const Document version = json.value("format_version", Document());
  if (!version.is_number_integer() || version.get<int64_t>() != kCheckpointFormatVersion) {
    fail_user("{}: format_version {}; this program reads version {}",
              file_name,
              version.is_number() ? version.dump() : quoted_name(version.dump()),
              kCheckpointFormatVersion);
  }
  const Document stated = json.value("manifest_sha256", Document());
  if (!stated.is_string() || stated.get<std::string>() != self_hash(std::string(text))) {
    fail_user("{}: altered since it was written (its manifest_sha256 does not match)", file_name);
  }
  try {
    return manifest_of(json, file_name);
  } catch (const nlohmann::json::exception& problem) {
    fail_user("{}: {}", file_name, problem.what());
  }
}

CheckpointManifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  CheckpointManifest manifest = parse_manifest(read_text_file(path), path.string());
  for (const auto& [name, file] : manifest.files) {
    std::error_code problem;
    const uint64_t bytes = fs::file_size(folder / name, problem);
    if (problem)
      fail_user("{}: {}; the manifest lists it", (folder / name).string(), problem.message());
    if (bytes != file.bytes) {
      fail_user(
          "{}: has {} bytes, the manifest says {}", (folder / name).string(), bytes, file.bytes);
    }
  }
  return manifest;
}

std::string part_text(const CheckpointPart& part) {
  Json json;
  json["files"] = files_json(part.files);
  json["roles"] = Json::object();
  for (const auto& [role, tensors] : part.roles) {
    std::map<std::string, Json> entries;
    for (const auto& [name, tensor] : tensors) entries[name] = tensor_json(tensor);
    json["roles"][role] = entries;
  }
  return json.dump();
}

CheckpointPart parse_part(std::string_view text, const std::string& file_name) {
  CheckpointPart part;
  try {
    const auto json = parse_json<Document>(text, file_name);
    part.files = files_of(json.at("files"), file_name);
    for (const auto& [role, tensors] : json.at("roles").items()) {
      auto& entries = part.roles[role];
      for (const auto& [name, tensor] : tensors.items()) {
        entries[name] = tensor_of(tensor, formatted("{}: tensor {}", file_name, quoted_name(name)));
      }
    }
  } catch (const nlohmann::json::exception& problem) {
    fail_run("{}: not what a writer of a checkpoint leaves: {}", file_name, problem.what());
  } catch (const UserError& problem) {
    fail_run(problem.what());  // nobody but this program writes these files
  }
  return part;
}

void merge_part(CheckpointManifest& manifest, const CheckpointPart& part) {
  for (const auto& [name, file] : part.files) {
    if (!manifest.files.emplace(name, file).second) {
      fail_run("two writers of a checkpoint wrote the file {}", quoted_name(name));
    }
  }
  for (const auto& [role, tensors] : part.roles) {
    auto& entries = manifest.roles[role].tensors;
    for (const auto& [name, tensor] : tensors) {
      const auto [entry, is_new] = entries.emplace(name, tensor);
      if (is_new) continue;
      ManifestTensor& whole = entry->second;
      if (whole.type != tensor.type || whole.shape != tensor.shape) {
        fail_run("two writers of a checkpoint have other types or shapes of tensor {} of {}",
                 quoted_name(name),
                 quoted_name(role));
      }
      whole.pieces.insert(whole.pieces.end(), tensor.pieces.begin(), tensor.pieces.end());
    }
  }
}

}  // namespace vmla::io
