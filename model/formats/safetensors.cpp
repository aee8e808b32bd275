#include "model/formats/safetensors.h"

#include <ATen/ATen.h>

#include <cstring>
#include <memory>
#include <set>

#include "model/formats/stored_types.h"
#include "model/formats/written_form.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/mapped_file.h"
#include "model/io/quoted_name.h"
#include "model/io/safetensors_header.h"
#include "model/io/safetensors_index.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

using io::quoted_name;
using io::StoredTensor;
using io::StoredType;

at::Tensor tensor_at(const std::shared_ptr<io::MappedFile>& file,
                     uint64_t data_start,
                     const StoredTensor& stored) {
  const auto options = at::TensorOptions(scalar_type_of(stored.type));
  if (stored.begin == stored.end) return at::empty(stored.shape, options);
  char* const data = file->data() + data_start + stored.begin;
  if (stored.type == StoredType::boolean) {
    // Any byte may stand in a file, but a C++ bool other than 0 and 1 is undefined.
    return at::from_blob(data, stored.shape, at::kByte).ne(0);
  }
  if (reinterpret_cast<uintptr_t>(data) % io::stored_type_bytes(stored.type) != 0) {
    at::Tensor copy = at::empty(stored.shape, options);
    std::memcpy(copy.mutable_data_ptr(), data, stored.end - stored.begin);
    return copy;
  }
  return at::from_blob(data, stored.shape, [file](void*) {}, options);
}

/// The index, or the only safetensors file, of a folder. UserError where that is ambiguous.
fs::path model_file_of(const fs::path& folder) {
  const std::string preferred = "diffusion_pytorch_model.safetensors";
  for (const std::string& name : {preferred + ".index.json", preferred}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  std::set<fs::path> indexes, files;
  std::error_code problem;
  fs::directory_iterator entry(folder, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(".")) continue;
    if (name.ends_with(".safetensors.index.json")) indexes.insert(entry->path());
    if (name.ends_with(".safetensors")) files.insert(entry->path());
  }
  if (problem) fail_user("{}: cannot be read: {}", folder.string(), problem.message());
  if (indexes.size() == 1) return *indexes.begin();
  if (indexes.empty() && files.size() == 1) return *files.begin();
  fail_user(
      "{} holds {} .safetensors files and {} indexes (*.safetensors.index.json); one file or one "
      "index is needed",
      folder.string(),
      files.size(),
      indexes.size());
}

/// Reads the shards beside an index, and checks that each holds just the tensors that the index
/// says.
SafetensorsFile read_shards(const fs::path& index) {
  const auto weight_map = io::parse_safetensors_index(io::read_text_file(index), index.string());
  SafetensorsFile all;
  std::set<std::string> shards;
  for (const auto& [name, shard] : weight_map) shards.insert(shard);
  for (const std::string& shard : shards) {
    SafetensorsFile part = read_safetensors(index.parent_path() / shard);
    for (auto& [name, tensor] : part.tensors) {
      const auto place = weight_map.find(name);
      if (place == weight_map.end() || place->second != shard) {
        fail_user("{}: {} holds tensor {}, the index {}",
                  index.string(),
                  shard,
                  quoted_name(name),
                  place == weight_map.end() ? std::string("does not name it")
                                            : formatted("says {}", place->second));
      }
      all.tensors.emplace(name, tensor);
    }
    all.metadata.merge(part.metadata);
  }
  for (const auto& [name, shard] : weight_map) {
    if (!all.tensors.contains(name)) {
      fail_user("{}: tensor {} is not in {}, where the index puts it",
                index.string(),
                quoted_name(name),
                shard);
    }
  }
  return all;
}

}  // namespace

SafetensorsFile read_safetensors(const fs::path& path) {
  const auto file = std::make_shared<io::MappedFile>(path);
  io::SafetensorsHeader header = io::parse_safetensors_header(file->view(), path.string());
  SafetensorsFile out;
  out.metadata = std::move(header.metadata);
  for (const StoredTensor& stored : header.tensors) {
    out.tensors.emplace(stored.name, tensor_at(file, header.data_start, stored));
  }
  return out;
}

SafetensorsFile read_safetensors_sharded(const fs::path& folder_or_index) {
  fs::path path = folder_or_index;
  if (fs::is_directory(path)) path = model_file_of(path);
  return path.string().ends_with(".index.json") ? read_shards(path) : read_safetensors(path);
}

WrittenFile write_safetensors_unflushed(const fs::path& path,
                                        const TensorMap& tensors,
                                        const TensorMetadata& metadata,
                                        std::optional<at::ScalarType> dtype,
                                        const TensorWritten& report) {
  const WrittenForm form(tensors, dtype);
  std::vector<StoredTensor> layout;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided,
                "only dense tensors can be stored: ",
                name);
    TORCH_CHECK(name != "__metadata__", "a tensor cannot have the reserved name ", name);
    layout.push_back({name, stored_type_of(name, form.type(tensor)), tensor.sizes().vec(), 0, 0});
  }
  const std::string head = io::lay_out_safetensors(layout, metadata);

  io::FileWriter file(path);
  file.write(head.data(), head.size());
  WrittenFile written;
  for (const StoredTensor& stored : layout) {
    const uint64_t bytes = stored.end - stored.begin;
    written.tensors.push_back({stored.name, head.size() + stored.begin, bytes});
    const at::Tensor data = form.of(tensors.at(stored.name));
    if (bytes > 0) file.write(data.const_data_ptr(), bytes);
    if (report) report(stored.name, data);
  }
  file.close();
  std::ranges::sort(written.tensors, {}, &WrittenTensor::name);
  written.bytes = file.bytes();
  written.sha256 = file.sha256();
  return written;
}

WrittenFile write_safetensors(const fs::path& path,
                              const TensorMap& tensors,
                              const TensorMetadata& metadata) {
  WrittenFile written;
  io::publish_file(path, [&](const fs::path& temporary) {
    written = write_safetensors_unflushed(temporary, tensors, metadata);
  });
  return written;
}

}  // namespace vmla::model
