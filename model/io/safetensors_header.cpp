#include "model/io/safetensors_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::io {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");

// The limit of the reference implementation; a longer header is an attack or another format.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
// More than any tensor has; a header must not make us allocate more.
constexpr size_t kMaxDims = 64;

struct TypeInfo {
  StoredType type;
  std::string_view name;
  uint64_t bytes;
};
constexpr TypeInfo kTypes[] = {
    {StoredType::f64, "F64", 8},
    {StoredType::f32, "F32", 4},
    {StoredType::f16, "F16", 2},
    {StoredType::bf16, "BF16", 2},
    {StoredType::i64, "I64", 8},
    {StoredType::i32, "I32", 4},
    {StoredType::i16, "I16", 2},
    {StoredType::i8, "I8", 1},
    {StoredType::u8, "U8", 1},
    {StoredType::boolean, "BOOL", 1},
};

const TypeInfo& info_of(StoredType type) {
  for (const TypeInfo& info : kTypes) {
    if (info.type == type) return info;
  }
  fail_run("unknown stored type");
}

/// Reads the JSON token by token and stops at the first one that the format does not allow. Parsing
/// to a document tree would keep the last of two equal keys without a word, and would build
/// whatever nesting a hostile file has.
class HeaderReader : public Json::json_sax_t {
 public:
  explicit HeaderReader(SafetensorsHeader& out) : out_(out) {}
  const std::string& problem() const { return problem_; }

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::start:
        return go(Place::top);
      case Place::top_value:
        return go(name_ == "__metadata__" ? Place::metadata : Place::tensor);
      default:
        return refuse("an object where none belongs");
    }
  }

  bool key(string_t& text) override {
    switch (place_) {
      case Place::top:
        name_ = text;
        if (!names_.insert(name_).second) return refuse("is there twice");
        has_type_ = has_shape_ = has_offsets_ = false;
        return go(Place::top_value);
      case Place::metadata:
        field_ = text;
        if (out_.metadata.contains(text))
          return refuse(formatted("key {} is there twice", quoted_name(text)));
        return go(Place::metadata_value);
      case Place::tensor:
        field_ = text;
        if (text == "dtype") return once(has_type_, Place::type);
        if (text == "shape") return once(has_shape_, Place::before_shape);
        if (text == "data_offsets") return once(has_offsets_, Place::before_offsets);
        return refuse(formatted("unexpected field {}", quoted_name(text)));
      default:
        return refuse("a key where none belongs");
    }
  }

  bool end_object() override {
    switch (place_) {
      case Place::top:
        return go(Place::done);
      case Place::metadata:
        return go(Place::top);
      case Place::tensor:
        if (!has_type_ || !has_shape_ || !has_offsets_) {
          return refuse(formatted("has no {}",
                                  !has_type_    ? "dtype"
                                  : !has_shape_ ? "shape"
                                                : "data_offsets"));
        }
        if (offsets_.size() != 2) return refuse("data_offsets must be two numbers");
        tensor_.name = name_;
        tensor_.begin = offsets_[0];
        tensor_.end = offsets_[1];
        out_.tensors.push_back(std::exchange(tensor_, {}));
        offsets_.clear();
        return go(Place::top);
      default:
        return refuse("unexpected end of an object");
    }
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::before_shape) return go(Place::shape);
    if (place_ == Place::before_offsets) return go(Place::offsets);
    return refuse("a list where none belongs");
  }

  bool end_array() override { return go(Place::tensor); }

  bool string(string_t& text) override {
    if (place_ == Place::metadata_value) {
      out_.metadata.emplace(field_, text);
      return go(Place::metadata);
    }
    if (place_ != Place::type) return refuse(formatted("unexpected text {}", quoted_name(text)));
    for (const TypeInfo& info : kTypes) {
      if (info.name == text) {
        tensor_.type = info.type;
        return go(Place::tensor);
      }
    }
    return refuse(formatted("has dtype {}; known are F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL",
                            quoted_name(text)));
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      if (value > uint64_t{INT64_MAX}) return refuse(formatted("has a dimension of {}", value));
      if (tensor_.shape.size() == kMaxDims)
        return refuse(formatted("has more than {} dimensions", kMaxDims));
      tensor_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::offsets) {
      if (offsets_.size() == 2) return refuse("data_offsets must be two numbers");
      offsets_.push_back(value);
      return true;
    }
    return refuse(formatted("unexpected number {}", value));
  }

  bool number_integer(number_integer_t value) override {
    return refuse(formatted("has {} where a whole number >= 0 belongs", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return refuse(formatted("has {} where a whole number >= 0 belongs", quoted_name(text)));
  }
  bool null() override { return refuse("has a null"); }
  bool boolean(bool) override { return refuse("has a true or false"); }
  bool binary(binary_t&) override { return refuse("has binary JSON"); }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    problem_ = formatted("the header is not valid JSON (byte {})", position);
    return false;
  }

 private:
  enum class Place {
    start,
    top,
    top_value,
    metadata,
    metadata_value,
    tensor,
    type,
    before_shape,
    shape,
    before_offsets,
    offsets,
    done
  };

  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool once(bool& seen, Place place) {
    if (std::exchange(seen, true))
      return refuse(formatted("field {} is there twice", quoted_name(field_)));
    return go(place);
  }
  bool refuse(const std::string& what) {
    problem_ = name_.empty() && place_ == Place::start
                   ? formatted("the header is not an object: {}", what)
                   : formatted("tensor {} {}", quoted_name(name_), what);
    return false;
  }

  SafetensorsHeader& out_;
  Place place_ = Place::start;
  std::string name_, field_, problem_;
  std::set<std::string> names_;
  StoredTensor tensor_;
  std::vector<uint64_t> offsets_;
  bool has_type_ = false, has_shape_ = false, has_offsets_ = false;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += formatted("{}{}", i ? ", " : "", shape[i]);
  return text + "]";
}

/// Each range fits its shape, and together they fill the data from its first byte to its last.
void check_ranges(const std::vector<StoredTensor>& tensors,
                  uint64_t data_bytes,
                  const std::string& file_name) {
  uint64_t cursor = 0;
  for (const StoredTensor& tensor : tensors) {
    const auto refuse = [&](std::string_view what) {
      fail_user("{}: tensor {} {}", file_name, quoted_name(tensor.name), what);
    };
    const std::string shape = shape_text(tensor.shape);
    const auto needed = stored_bytes(tensor.type, tensor.shape);
    if (!needed) refuse("has the impossible shape " + shape);
    const uint64_t bytes = *needed;
    if (tensor.end < tensor.begin || tensor.end - tensor.begin != bytes) {
      refuse(formatted("of {} {} needs {} bytes, its data_offsets are [{}, {}]",
                       stored_type_name(tensor.type),
                       shape,
                       bytes,
                       tensor.begin,
                       tensor.end));
    }
    if (tensor.begin < cursor) {
      refuse(formatted("overlaps the one before it, at byte {} of the data", tensor.begin));
    }
    if (tensor.begin > cursor) {
      refuse(formatted("leaves a hole of {} bytes before it", tensor.begin - cursor));
    }
    if (tensor.end > data_bytes) {
      refuse(formatted("ends at byte {} of the data, but the file has only {}: it is truncated",
                       tensor.end,
                       data_bytes));
    }
    cursor = tensor.end;
  }
  if (cursor != data_bytes) {
    fail_user("{}: {} bytes follow the last tensor; none should", file_name, data_bytes - cursor);
  }
}

}  // namespace

std::string_view stored_type_name(StoredType type) {
  return info_of(type).name;
}
uint64_t stored_type_bytes(StoredType type) {
  return info_of(type).bytes;
}

std::optional<uint64_t> stored_bytes(StoredType type, const std::vector<int64_t>& shape) {
  auto product = static_cast<int64_t>(stored_type_bytes(type));
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(product, size, &product)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : static_cast<uint64_t>(product);
}

SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& file_name) {
  if (file.size() < 10) {
    fail_user("{}: {} bytes are too few for a safetensors file", file_name, file.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  if (length < 2 || length > kMaxHeaderBytes) {
    fail_user("{}: not a safetensors file (a header of {} bytes)", file_name, length);
  }
  if (length > file.size() - 8) {
    fail_user("{}: truncated: a header of {} bytes is promised, the file has {} bytes",
              file_name,
              length,
              file.size());
  }
  const std::string_view text = file.substr(8, length);
  if (text.front() != '{')
    fail_user("{}: not a safetensors file (the header is no JSON object)", file_name);

  // The JSON reader takes a NUL between tokens for the end of its input and would ignore what comes
  // after it.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail_user("{}: the header is not valid JSON (byte {})", file_name, nul + 1);
  }

  SafetensorsHeader header;
  header.data_start = 8 + length;
  HeaderReader reader(header);
  if (!Json::sax_parse(text.begin(), text.end(), &reader)) {
    fail_user("{}: {}", file_name, reader.problem());
  }
  // Empty tensors come first among those that begin at the same byte.
  std::ranges::sort(
      header.tensors, {}, [](const StoredTensor& t) { return std::tie(t.begin, t.end, t.name); });
  check_ranges(header.tensors, file.size() - header.data_start, file_name);
  return header;
}

std::string lay_out_safetensors(std::vector<StoredTensor>& tensors,
                                const std::map<std::string, std::string>& metadata) {
  std::ranges::sort(tensors, [](const StoredTensor& a, const StoredTensor& b) {
    const uint64_t size_a = stored_type_bytes(a.type), size_b = stored_type_bytes(b.type);
    return size_a != size_b ? size_a > size_b : a.name < b.name;
  });
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t cursor = 0;
  for (StoredTensor& tensor : tensors) {
    const auto bytes = stored_bytes(tensor.type, tensor.shape);
    if (!bytes) fail_run("tensor {} is too large to store", quoted_name(tensor.name));
    tensor.begin = cursor;
    cursor += *bytes;
    tensor.end = cursor;
    json[tensor.name] = {{"dtype", stored_type_name(tensor.type)},
                         {"shape", tensor.shape},
                         {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string first(8, '\0');
  std::memcpy(first.data(), &length, sizeof length);
  return first + text;
}

}  // namespace vmla::io
