#include "data/store/hdf5_reader.h"

#include <algorithm>
#include <cstring>
#include <system_error>

namespace vmla::data {
namespace {

bool holds_numbers(hid_t type) {
  return H5Tget_class(type) == H5T_INTEGER || H5Tget_class(type) == H5T_FLOAT;
}

/// The type under which HDF5 hands out variable-length strings stored as `stored`. It must carry
/// the file's character set: HDF5 does not convert ASCII to UTF-8.
Hdf5Handle memory_string_type(hid_t stored) {
  Hdf5Handle type = hdf5_string_type();
  H5Tset_cset(type, H5Tget_cset(stored));
  return type;
}

}  // namespace

Hdf5Reader::Hdf5Reader(std::filesystem::path path, std::string expected)
    : path_(std::move(path)), expected_(std::move(expected)), file_(-1, H5Fclose) {
  std::error_code problem;
  if (!std::filesystem::exists(path_, problem)) fail("", "no such file");
  const uintmax_t bytes = std::filesystem::file_size(path_, problem);
  file_bytes_ = problem ? 0 : bytes;
  file_ = Hdf5Handle(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file_.valid()) fail("", "not a readable HDF5 file: {}", hdf5_reason());
}

bool Hdf5Reader::has(const std::string& name) const {
  // HDF5 asks for one link at a time: a missing group on the way is an error to it, not a no.
  const std::string group = name.substr(0, name.rfind('/'));
  if (!group.empty() && H5Lexists(file_, group.c_str(), H5P_DEFAULT) <= 0) return false;
  return H5Lexists(file_, name.c_str(), H5P_DEFAULT) > 0;
}

Hdf5Dataset Hdf5Reader::open(const std::string& name) const {
  if (!has(name)) fail(name, "missing; {} has it", expected_);
  Hdf5Dataset set{name, Hdf5Handle(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), H5Dclose), {}};
  if (!set.id.valid()) fail(name, "cannot be opened: {}", hdf5_reason());
  const Hdf5Handle space(H5Dget_space(set.id), H5Sclose);
  std::vector<hsize_t> sizes(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(space))));
  H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  set.sizes.assign(sizes.begin(), sizes.end());
  // Before anything is allocated by these numbers: an element takes at least a byte of the file.
  double elements = 1;
  for (const hsize_t size : sizes) elements *= static_cast<double>(size);
  if (elements > static_cast<double>(file_bytes_)) fail(name, "is larger than the whole file");
  return set;
}

Hdf5Dataset Hdf5Reader::open(const std::string& name, size_t dimensions) const {
  Hdf5Dataset set = open(name);
  const size_t found = set.sizes.size();
  if (found != dimensions) fail(name, "has {} dimensions, must have {}", found, dimensions);
  return set;
}

void Hdf5Reader::read(const Hdf5Dataset& set, hid_t type, void* into) const {
  const herr_t status = H5Dread(set.id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, into);
  if (status < 0) fail(set.name, "cannot be read: {}", hdf5_reason());
}

void Hdf5Reader::expect_type(const Hdf5Dataset& set,
                             H5T_class_t wanted,
                             size_t bytes,
                             const char* words) const {
  const Hdf5Handle type(H5Dget_type(set.id), H5Tclose);
  const bool fits = H5Tget_class(type) == wanted && (bytes == 0 || H5Tget_size(type) == bytes);
  if (!fits) fail(set.name, "must hold {}", words);
  if (bytes > 1 && H5Tget_order(type) != H5T_ORDER_LE) fail(set.name, "must be little-endian");
}

void Hdf5Reader::expect_end() const {
  haddr_t end = 0;
  if (H5Fget_eoa(file_, &end) < 0 || file_bytes_ <= end) return;
  fail("", "its end is damaged or cut off ({} bytes, its data ends at {})", file_bytes_, end);
}

template <class T>
Hdf5Array<T> Hdf5Reader::numbers(const std::string& name, hid_t type) const {
  Hdf5Dataset set = open(name);
  const Hdf5Handle stored(H5Dget_type(set.id), H5Tclose);
  if (!holds_numbers(stored)) fail(name, "must hold numbers");
  int64_t count = 1;
  for (const int64_t size : set.sizes) count *= size;
  Hdf5Array<T> array{set.sizes, std::vector<T>(static_cast<size_t>(count))};
  if (count > 0) read(set, type, array.values.data());
  return array;
}

Hdf5Array<double> Hdf5Reader::doubles(const std::string& name) const {
  return numbers<double>(name, H5T_NATIVE_DOUBLE);
}

Hdf5Array<int64_t> Hdf5Reader::integers(const std::string& name) const {
  return numbers<int64_t>(name, H5T_NATIVE_INT64);
}

std::vector<std::string> Hdf5Reader::strings(const std::string& name) const {
  const Hdf5Dataset set = open(name, 1);
  const auto count = static_cast<size_t>(set.sizes[0]);
  const Hdf5Handle stored(H5Dget_type(set.id), H5Tclose);
  if (H5Tget_class(stored) != H5T_STRING) fail(name, "must hold strings");
  std::vector<std::string> out;
  if (H5Tis_variable_str(stored) <= 0) {
    const size_t width = H5Tget_size(stored);
    if (width > file_bytes_) fail(name, "is larger than the whole file");
    std::string all(count * width, '\0');
    read(set, stored, all.data());
    for (size_t i = 0; i < count; ++i) {
      out.emplace_back(all.data() + i * width, strnlen(all.data() + i * width, width));
    }
    return out;
  }
  const Hdf5Handle type = memory_string_type(stored);
  std::vector<char*> texts(count, nullptr);
  read(set, type, texts.data());
  for (const char* text : texts) out.emplace_back(text == nullptr ? "" : text);
  const Hdf5Handle space(H5Dget_space(set.id), H5Sclose);
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts.data());
  return out;
}

std::string Hdf5Reader::text_attribute(const char* name) const {
  return read_text_attribute(file_, name);
}

std::string Hdf5Reader::text_attribute(const Hdf5Dataset& set, const char* name) const {
  return read_text_attribute(set.id, name);
}

std::string Hdf5Reader::read_text_attribute(hid_t place, const char* name) const {
  const Hdf5Handle made = open_attribute(place, name);
  const Hdf5Handle stored(H5Aget_type(made), H5Tclose);
  if (H5Tget_class(stored) != H5T_STRING) fail(name, "attribute must be a string");
  if (H5Tis_variable_str(stored) > 0) {
    char* text = nullptr;
    const herr_t status = H5Aread(made, memory_string_type(stored), &text);
    if (status < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
    const std::string out = text == nullptr ? "" : text;
    H5free_memory(text);
    return out;
  }
  std::string out(H5Tget_size(stored), '\0');
  const herr_t status = H5Aread(made, stored, out.data());
  if (status < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
  out.resize(std::strlen(out.c_str()));
  return out;
}

double Hdf5Reader::number_attribute(const char* name) const {
  double value = 0;
  read_number_attributes(name, 1, H5T_NATIVE_DOUBLE, &value);
  return value;
}

std::vector<int64_t> Hdf5Reader::integer_attributes(const char* name, size_t count) const {
  std::vector<int64_t> values(count);
  read_number_attributes(name, count, H5T_NATIVE_INT64, values.data());
  return values;
}

Hdf5Handle Hdf5Reader::open_attribute(hid_t place, const char* name) const {
  const bool there = H5Aexists(place, name) > 0;
  if (!there) fail(name, "this attribute is missing; {} has it", expected_);
  return Hdf5Handle(H5Aopen(place, name, H5P_DEFAULT), H5Aclose);
}

void Hdf5Reader::read_number_attributes(const char* name,
                                        size_t count,
                                        hid_t type,
                                        void* into) const {
  const Hdf5Handle made = open_attribute(file_, name);
  const Hdf5Handle space(H5Aget_space(made), H5Sclose);
  const Hdf5Handle stored(H5Aget_type(made), H5Tclose);
  const bool fits =
      holds_numbers(stored) && H5Sget_simple_extent_npoints(space) == static_cast<hssize_t>(count);
  if (!fits) fail(name, "attribute must hold {}{}", count, count == 1 ? " number" : " numbers");
  if (H5Aread(made, type, into) < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
}

}  // namespace vmla::data
