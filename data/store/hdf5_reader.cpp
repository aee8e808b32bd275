#include "data/store/hdf5_reader.h"

#include <cstring>

namespace vmla::data {

Hdf5Reader::Hdf5Reader(std::filesystem::path path)
    : path_(std::move(path)),
      file_bytes_(std::filesystem::file_size(path_)),
      file_(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose) {
  if (!file_.valid()) fail("", "not a readable HDF5 file: {}", hdf5_reason());
}

bool Hdf5Reader::has(const std::string& name) const {
  // HDF5 asks for one link at a time: a missing group on the way is an error to it, not a no.
  const std::string group = name.substr(0, name.rfind('/'));
  if (!group.empty() && H5Lexists(file_, group.c_str(), H5P_DEFAULT) <= 0) return false;
  return H5Lexists(file_, name.c_str(), H5P_DEFAULT) > 0;
}

Hdf5Handle Hdf5Reader::open(const char* name, std::vector<int64_t>& dims, size_t rank) const {
  if (!has(name)) fail(name, "missing; a latent dataset has it (vmla data encode writes one)");
  Hdf5Handle set(H5Dopen2(file_, name, H5P_DEFAULT), H5Dclose);
  if (!set.valid()) fail(name, "cannot be opened: {}", hdf5_reason());
  const Hdf5Handle space(H5Dget_space(set), H5Sclose);
  const int found = H5Sget_simple_extent_ndims(space);
  if (found != static_cast<int>(rank)) fail(name, "has {} dimensions, must have {}", found, rank);
  std::vector<hsize_t> sizes(rank);
  H5Sget_simple_extent_dims(space, sizes.data(), nullptr);
  dims.assign(sizes.begin(), sizes.end());
  // Before anything is allocated by these numbers: an element takes at least a byte of the file.
  double elements = 1;
  for (const int64_t size : dims) elements *= static_cast<double>(size);
  if (elements > static_cast<double>(file_bytes_)) fail(name, "is larger than the whole file");
  return set;
}

void Hdf5Reader::read(hid_t set, hid_t type, void* into, const char* name) const {
  const herr_t status = H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, into);
  if (status < 0) fail(name, "cannot be read: {}", hdf5_reason());
}

void Hdf5Reader::expect_type(
    hid_t set, const char* name, H5T_class_t wanted, size_t bytes, const char* words) const {
  const Hdf5Handle type(H5Dget_type(set), H5Tclose);
  const bool fits = H5Tget_class(type) == wanted && (bytes == 0 || H5Tget_size(type) == bytes);
  if (!fits) fail(name, "must hold {}", words);
  if (bytes > 1 && H5Tget_order(type) != H5T_ORDER_LE) fail(name, "must be little-endian");
}

void Hdf5Reader::expect_end() const {
  haddr_t end = 0;
  if (H5Fget_eoa(file_, &end) < 0 || file_bytes_ <= end) return;
  fail("", "its end is damaged or cut off ({} bytes, its data ends at {})", file_bytes_, end);
}

std::vector<std::string> Hdf5Reader::strings(const char* name) const {
  std::vector<int64_t> dims;
  const Hdf5Handle set = open(name, dims, 1);
  const auto count = static_cast<size_t>(dims[0]);
  const Hdf5Handle stored(H5Dget_type(set), H5Tclose);
  if (H5Tget_class(stored) != H5T_STRING) fail(name, "must hold strings");
  std::vector<std::string> out;
  if (H5Tis_variable_str(stored) <= 0) {
    const size_t width = H5Tget_size(stored);
    if (width > file_bytes_) fail(name, "is larger than the whole file");
    std::string all(count * width, '\0');
    read(set, stored, all.data(), name);
    for (size_t i = 0; i < count; ++i) {
      out.emplace_back(all.data() + i * width, strnlen(all.data() + i * width, width));
    }
    return out;
  }
  // The memory type must carry the file's character set; HDF5 does not convert ASCII to UTF-8.
  const Hdf5Handle type = hdf5_string_type();
  H5Tset_cset(type, H5Tget_cset(stored));
  std::vector<char*> texts(count, nullptr);
  read(set, type, texts.data(), name);
  for (const char* text : texts) out.emplace_back(text == nullptr ? "" : text);
  const Hdf5Handle space(H5Dget_space(set), H5Sclose);
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, texts.data());
  return out;
}

std::string Hdf5Reader::text_attribute(hid_t place, const char* name) const {
  const Hdf5Handle made = attribute(place, name);
  const Hdf5Handle stored(H5Aget_type(made), H5Tclose);
  if (H5Tget_class(stored) != H5T_STRING) fail(name, "attribute must be a string");
  if (H5Tis_variable_str(stored) > 0) {
    char* text = nullptr;
    const Hdf5Handle type = hdf5_string_type();
    H5Tset_cset(type, H5Tget_cset(stored));
    if (H5Aread(made, type, &text) < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
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
  read_numbers(name, 1, H5T_NATIVE_DOUBLE, &value);
  return value;
}

std::vector<int64_t> Hdf5Reader::integer_attributes(const char* name, size_t count) const {
  std::vector<int64_t> values(count);
  read_numbers(name, count, H5T_NATIVE_INT64, values.data());
  return values;
}

Hdf5Handle Hdf5Reader::attribute(hid_t place, const char* name) const {
  const bool there = H5Aexists(place, name) > 0;
  if (!there) fail(name, "this attribute is missing; is it a latent dataset?");
  return Hdf5Handle(H5Aopen(place, name, H5P_DEFAULT), H5Aclose);
}

void Hdf5Reader::read_numbers(const char* name, size_t count, hid_t type, void* into) const {
  const Hdf5Handle made = attribute(file_, name);
  const Hdf5Handle space(H5Aget_space(made), H5Sclose);
  const Hdf5Handle stored(H5Aget_type(made), H5Tclose);
  const bool number = H5Tget_class(stored) == H5T_INTEGER || H5Tget_class(stored) == H5T_FLOAT;
  if (!number || H5Sget_simple_extent_npoints(space) != static_cast<hssize_t>(count)) {
    fail(name, "attribute must hold {}{}", count, count == 1 ? " number" : " numbers");
  }
  if (H5Aread(made, type, into) < 0) fail(name, "attribute cannot be read: {}", hdf5_reason());
}

}  // namespace vmla::data
