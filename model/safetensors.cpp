#include "model/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/file_writer.h"
#include "model/io/safetensors_header.h"

namespace vmla::model {
namespace fs = std::filesystem;
namespace {

using io::quoted_name;
using io::StoredTensor;
using io::StoredType;

constexpr std::pair<StoredType, at::ScalarType> kTypes[] = {
    {StoredType::f64, at::kDouble},
    {StoredType::f32, at::kFloat},
    {StoredType::f16, at::kHalf},
    {StoredType::bf16, at::kBFloat16},
    {StoredType::i64, at::kLong},
    {StoredType::i32, at::kInt},
    {StoredType::i16, at::kShort},
    {StoredType::i8, at::kChar},
    {StoredType::u8, at::kByte},
    {StoredType::boolean, at::kBool},
};

at::ScalarType scalar_type(StoredType type) {
  for (const auto& [stored, scalar] : kTypes) {
    if (stored == type) return scalar;
  }
  TORCH_INTERNAL_ASSERT(false, "a stored type without a scalar type");
}

StoredType stored_type(const std::string& name, at::ScalarType type) {
  for (const auto& [stored, scalar] : kTypes) {
    if (scalar == type) return stored;
  }
  TORCH_CHECK(false, "safetensors has no type for ", type, " of tensor ", name);
}

/// A file mapped read-only for as long as a tensor shares it.
class Mapping {
 public:
  explicit Mapping(const fs::path& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail_user("cannot read ", path.string(), ": ", std::strerror(errno));
    struct stat info = {};
    const bool known = fstat(fd, &info) == 0;
    if (!known || !S_ISREG(info.st_mode)) {
      close(fd);
      fail_user("cannot read ",
                path.string(),
                ": a safetensors file is needed, this is ",
                S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    }
    bytes_ = static_cast<size_t>(info.st_size);
    if (bytes_ > 0) start_ = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0);
    const int problem = errno;
    close(fd);
    if (start_ == MAP_FAILED) {
      fail_run("cannot map ", path.string(), ": ", std::strerror(problem));
    }
  }
  ~Mapping() {
    if (bytes_ > 0 && start_ != MAP_FAILED) munmap(start_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  char* data() const { return static_cast<char*>(start_); }
  std::string_view view() const { return {data(), bytes_}; }

 private:
  void* start_ = nullptr;
  size_t bytes_ = 0;
};

at::Tensor tensor_at(const std::shared_ptr<Mapping>& file,
                     uint64_t data_start,
                     const StoredTensor& stored) {
  const auto options = at::TensorOptions(scalar_type(stored.type));
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

/// The index or single file of a folder.
fs::path model_file_of(const fs::path& folder) {
  const std::string preferred = "diffusion_pytorch_model.safetensors";
  for (const std::string& name : {preferred + ".index.json", preferred}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  std::set<fs::path> indexes, files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".")) continue;
    if (name.ends_with(".safetensors.index.json")) indexes.insert(entry.path());
    if (name.ends_with(".safetensors")) files.insert(entry.path());
  }
  if (indexes.size() == 1) return *indexes.begin();
  if (indexes.empty() && files.size() == 1) return *files.begin();
  fail_user(folder.string(),
            " holds ",
            files.size(),
            " .safetensors files and ",
            indexes.size(),
            " indexes (*.safetensors.index.json); one file or one index is needed");
}

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
        fail_user(index.string(),
                  ": ",
                  shard,
                  " holds tensor ",
                  quoted_name(name),
                  ", the index ",
                  place == weight_map.end() ? std::string("does not name it")
                                            : cat("says ", place->second));
      }
      all.tensors.emplace(name, tensor);
    }
    all.metadata.merge(part.metadata);
  }
  for (const auto& [name, shard] : weight_map) {
    if (!all.tensors.contains(name)) {
      fail_user(index.string(),
                ": tensor ",
                quoted_name(name),
                " is not in ",
                shard,
                ", where the index puts it");
    }
  }
  return all;
}

}  // namespace

SafetensorsFile read_safetensors(const fs::path& path) {
  const auto file = std::make_shared<Mapping>(path);
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
                                        const TensorMetadata& metadata) {
  std::vector<StoredTensor> layout;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(tensor.defined() && tensor.layout() == at::kStrided,
                "only dense tensors can be stored: ",
                name);
    TORCH_CHECK(name != "__metadata__", "a tensor cannot have the reserved name ", name);
    layout.push_back({name, stored_type(name, tensor.scalar_type()), tensor.sizes().vec(), 0, 0});
  }
  const std::string head = io::lay_out_safetensors(layout, metadata);

  io::FileWriter file(path);
  file.write(head.data(), head.size());
  WrittenFile written;
  for (const StoredTensor& stored : layout) {
    const uint64_t bytes = stored.end - stored.begin;
    written.tensors.push_back({stored.name, head.size() + stored.begin, bytes});
    if (bytes == 0) continue;
    const at::Tensor& source = tensors.at(stored.name);
    const at::Tensor data = source.detach().to(at::kCPU).resolve_conj().resolve_neg().contiguous();
    file.write(data.const_data_ptr(), bytes);
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
