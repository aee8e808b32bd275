#include "analysis/rank/hdf5_file.h"

#include "data/store/hdf5_handle.h"
#include "model/io/error.h"

#include <functional>
#include <numeric>

namespace vmla::analysis {
namespace {

using Handle = data::Hdf5Handle;

// HDF5 prints a stack of its own on every error; we say it in one line instead.
void silence_hdf5() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

int64_t count_of(const std::vector<int64_t>& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : path_(path) {
  silence_hdf5();
  file_ = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (file_ < 0) fail_run("{}: cannot create this HDF5 file", path.string());
}

Hdf5Writer::~Hdf5Writer() {
  if (file_ >= 0) H5Fclose(file_);
}

void Hdf5Writer::write_raw(const std::string& name,
                           const std::vector<int64_t>& sizes,
                           int64_t type,
                           const void* data) {
  const std::vector<hsize_t> extent(sizes.begin(), sizes.end());
  const Handle space(
      extent.empty() ? H5Screate(H5S_SCALAR)
                     : H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
      &H5Sclose);
  const Handle links(H5Pcreate(H5P_LINK_CREATE), &H5Pclose);
  H5Pset_create_intermediate_group(links, 1);
  const Handle dataset(
      H5Dcreate2(file_, name.c_str(), type, space, links, H5P_DEFAULT, H5P_DEFAULT), &H5Dclose);
  if (!dataset.valid()) fail_run("{}: cannot create the dataset /{}", path_.string(), name);
  if (count_of(sizes) > 0 && H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
    fail_run("{}: cannot write the dataset /{} (is the disk full?)", path_.string(), name);
  }
}

void Hdf5Writer::write(const std::string& name, const Array<double>& array) {
  write_raw(name, array.sizes, H5T_NATIVE_DOUBLE, array.values.data());
}

void Hdf5Writer::write(const std::string& name, const Array<int64_t>& array) {
  write_raw(name, array.sizes, H5T_NATIVE_INT64, array.values.data());
}

void Hdf5Writer::attribute(const std::string& name, int64_t value) {
  const Handle space(H5Screate(H5S_SCALAR), &H5Sclose);
  const Handle attribute(
      H5Acreate2(file_, name.c_str(), H5T_NATIVE_INT64, space, H5P_DEFAULT, H5P_DEFAULT),
      &H5Aclose);
  if (!attribute.valid() || H5Awrite(attribute, H5T_NATIVE_INT64, &value) < 0) {
    fail_run("{}: cannot write the attribute {}", path_.string(), name);
  }
}

void Hdf5Writer::attribute(const std::string& name, const std::string& value) {
  const Handle type(H5Tcopy(H5T_C_S1), &H5Tclose);
  H5Tset_size(type,
              value.size() + 1);  // a fixed length with its final zero; HDF5 refuses length 0
  H5Tset_cset(type, H5T_CSET_UTF8);
  const Handle space(H5Screate(H5S_SCALAR), &H5Sclose);
  const Handle attribute(H5Acreate2(file_, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT),
                         &H5Aclose);
  if (!attribute.valid() || H5Awrite(attribute, type, value.c_str()) < 0) {
    fail_run("{}: cannot write the attribute {}", path_.string(), name);
  }
}

void Hdf5Writer::close() {
  const bool flushed = H5Fflush(file_, H5F_SCOPE_GLOBAL) >= 0;
  const bool closed = H5Fclose(file_) >= 0;
  file_ = -1;
  if (!flushed || !closed)
    fail_run("{}: cannot finish this HDF5 file (is the disk full?)", path_.string());
}

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) : path_(path) {
  silence_hdf5();
  if (!std::filesystem::exists(path)) fail_user("{}: no such file", path.string());
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file_ < 0) fail_user("{}: not a readable HDF5 file (damaged, or cut off)", path.string());
}

Hdf5Reader::~Hdf5Reader() {
  if (file_ >= 0) H5Fclose(file_);
}

bool Hdf5Reader::has(const std::string& name) const {
  return H5Lexists(file_, name.c_str(), H5P_DEFAULT) > 0;
}

template <class T>
Array<T> Hdf5Reader::read_array(const std::string& name, int64_t type) const {
  const Handle dataset(H5Dopen2(file_, name.c_str(), H5P_DEFAULT), &H5Dclose);
  if (!dataset.valid()) fail_user("{}: the dataset /{} is missing", path_.string(), name);
  const Handle space(H5Dget_space(dataset), &H5Sclose);
  std::vector<hsize_t> extent(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(space))));
  H5Sget_simple_extent_dims(space, extent.data(), nullptr);
  Array<T> array;
  array.sizes.assign(extent.begin(), extent.end());
  // Never allocate what a damaged header asks for: the data must fit into the file (nothing here is
  // compressed).
  const double bytes = std::accumulate(
      extent.begin(), extent.end(), static_cast<double>(sizeof(T)), std::multiplies<>());
  if (bytes > static_cast<double>(std::filesystem::file_size(path_)) + 1024) {
    fail_user("{}: the dataset /{} claims more data than the file holds", path_.string(), name);
  }
  array.values.resize(static_cast<size_t>(count_of(array.sizes)));
  if (!array.values.empty() &&
      H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array.values.data()) < 0) {
    fail_user("{}: the dataset /{} cannot be read (damaged, or not numbers)", path_.string(), name);
  }
  return array;
}

Array<double> Hdf5Reader::read_doubles(const std::string& name) const {
  return read_array<double>(name, H5T_NATIVE_DOUBLE);
}

Array<int64_t> Hdf5Reader::read_integers(const std::string& name) const {
  return read_array<int64_t>(name, H5T_NATIVE_INT64);
}

int64_t Hdf5Reader::integer_attribute(const std::string& name) const {
  const Handle attribute(H5Aopen(file_, name.c_str(), H5P_DEFAULT), &H5Aclose);
  int64_t value = 0;
  if (!attribute.valid() || H5Aread(attribute, H5T_NATIVE_INT64, &value) < 0) {
    fail_user("{}: the attribute {} is missing or not an integer", path_.string(), name);
  }
  return value;
}

std::string Hdf5Reader::string_attribute(const std::string& name) const {
  const Handle attribute(H5Aopen(file_, name.c_str(), H5P_DEFAULT), &H5Aclose);
  if (!attribute.valid()) fail_user("{}: the attribute {} is missing", path_.string(), name);
  const Handle type(H5Aget_type(attribute), &H5Tclose);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0) {
    fail_user("{}: the attribute {} is not a fixed-length string", path_.string(), name);
  }
  std::string value(H5Tget_size(type), '\0');
  if (H5Aread(attribute, type, value.data()) < 0) {
    fail_user("{}: the attribute {} cannot be read", path_.string(), name);
  }
  value.resize(value.find('\0') == std::string::npos ? value.size() : value.find('\0'));
  return value;
}

}  // namespace vmla::analysis
