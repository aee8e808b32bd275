#include "model/formats/write_torch_file.h"

#include <ATen/ATen.h>

#include "model/formats/written_form.h"
#include "model/io/error.h"
#include "model/io/zip_writer.h"

namespace vmla::model {
namespace {

constexpr uint64_t kStorageAlignment = 64;  // torch.save's

/// torch's class of a storage of this type.
const char* storage_class(const std::string& name, at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "FloatStorage";
    case at::kBFloat16:
      return "BFloat16Storage";
    case at::kHalf:
      return "HalfStorage";
    case at::kDouble:
      return "DoubleStorage";
    default:
      fail_run("tensor {} is {}; files of torch.save are written of floating numbers alone",
               name,
               at::toString(type));
  }
}

/// The pickle of a dict of dicts of tensors (protocol 2, without memo: every object is written
/// out).
class TensorPickle {
 public:
  TensorPickle() { text_ = "\x80\x02}("; }  // PROTO 2, EMPTY_DICT, MARK

  void begin_dict(const std::string& key) {
    put_string(key);
    text_ += "}(";
  }
  void end_dict() { text_ += "u"; }  // SETITEMS

  /// One item of the innermost dict: torch._utils._rebuild_tensor_v2(storage, 0, sizes, strides,
  /// False, OrderedDict()).
  void put_tensor(const std::string& name,
                  const at::Tensor& tensor,
                  at::ScalarType type,
                  const std::string& storage) {
    put_string(name);
    text_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
    put_string("storage");
    text_ += std::string("ctorch\n") + storage_class(name, type) + "\n";
    put_string(storage);
    put_string("cpu");
    put_integer(tensor.numel());
    text_ += "tQK";  // TUPLE, BINPERSID, BININT1
    text_ += '\0';   // the storage's first element
    put_tuple(tensor.sizes());
    put_tuple(at::empty(tensor.sizes(), tensor.options().device(at::kMeta)).strides());
    text_ +=
        "\x89"
        "ccollections\nOrderedDict\n)RtR";  // NEWFALSE, an empty OrderedDict, the call
  }

  /// The whole text.
  std::string finish() { return text_ + "u."; }  // SETITEMS, STOP

 private:
  void put_number(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> 8 * i & 0xFF);
  }
  void put_string(const std::string& value) {
    text_ += 'X';  // BINUNICODE
    put_number(value.size(), 4);
    text_ += value;
  }
  void put_integer(int64_t value) {
    if (value <= INT32_MAX) {
      text_ += 'J';  // BININT
      put_number(static_cast<uint64_t>(value), 4);
    } else {
      text_ += "\x8A\x08";  // LONG1 of eight bytes
      put_number(static_cast<uint64_t>(value), 8);
    }
  }
  void put_tuple(at::IntArrayRef values) {
    text_ += '(';
    for (const int64_t value : values) put_integer(value);
    text_ += 't';
  }

  std::string text_;
};

std::string pickle_of(const std::vector<std::string>& keys,
                      const TensorMap& tensors,
                      const WrittenForm& form) {
  TensorPickle pickle;
  for (const std::string& key : keys) {
    pickle.begin_dict(key);
    size_t storage = 0;
    for (const auto& [name, tensor] : tensors) {
      pickle.put_tensor(name, tensor, form.type(tensor), std::to_string(storage++));
    }
    pickle.end_dict();
  }
  return pickle.finish();
}

}  // namespace

WrittenFile write_torch_file_unflushed(
    const std::filesystem::path& path,
    const std::vector<std::string>& keys,
    const TensorMap& tensors,
    std::optional<at::ScalarType> dtype,
    const std::function<void(const std::string& name, const at::Tensor& data)>& written) {
  const WrittenForm form(tensors, dtype);
  io::ZipWriter zip(path, kStorageAlignment);
  zip.add("archive/data.pkl", pickle_of(keys, tensors, form));
  zip.add("archive/.format_version", "1");
  zip.add("archive/.storage_alignment", std::to_string(kStorageAlignment));
  zip.add("archive/byteorder", "little");
  WrittenFile out;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor data = form.of(tensor);
    const uint64_t bytes = data.nbytes();
    const std::string entry = "archive/data/" + std::to_string(out.tensors.size());
    const uint64_t offset = zip.add(entry, data.const_data_ptr(), bytes);
    out.tensors.push_back({name, offset, bytes});
    written(name, data);
  }
  zip.add("archive/version", "3\n");
  zip.close();
  out.bytes = zip.bytes();
  out.sha256 = zip.sha256();
  return out;
}

}  // namespace vmla::model
