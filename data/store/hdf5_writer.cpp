#include "data/store/hdf5_writer.h"

#include <cerrno>

#include "model/io/error.h"
#include "model/io/fault_hook.h"

namespace vmla::data {
namespace {

Hdf5Handle scalar() {
  return {H5Screate(H5S_SCALAR), H5Sclose};
}

/// A dataspace of these sizes; without any, one element.
template <class Size>
Hdf5Handle dataspace(const std::vector<Size>& sizes) {
  if (sizes.empty()) return scalar();
  const std::vector<hsize_t> extent(sizes.begin(), sizes.end());
  return {H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose};
}

}  // namespace

Hdf5Writer::Hdf5Writer(std::filesystem::path path)
    : path_(std::move(path)),
      file_(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose) {
  check(file_.valid(), "the header");
}

void Hdf5Writer::write(const std::string& name, const Hdf5Array<double>& array) {
  write_numbers(name, H5T_NATIVE_DOUBLE, array.sizes, array.values.data());
}

void Hdf5Writer::write(const std::string& name, const Hdf5Array<int64_t>& array) {
  write_numbers(name, H5T_NATIVE_INT64, array.sizes, array.values.data());
}

void Hdf5Writer::write_numbers(const std::string& name,
                               hid_t type,
                               const std::vector<int64_t>& sizes,
                               const void* data) {
  const Hdf5Handle space = dataspace(sizes);
  const Hdf5Handle set = create(name, type, space, H5P_DEFAULT);
  if (H5Sget_simple_extent_npoints(space) > 0) fill(set, type, data, name);
}

void Hdf5Writer::write(const std::string& name, const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  write_reserved(name, hdf5_string_type(), {texts.size()}, pointers.data());
}

void Hdf5Writer::attribute(hid_t set, const char* name, const std::string& text) {
  const char* value = text.c_str();
  attribute(set, name, hdf5_string_type(), scalar(), &value);
}

void Hdf5Writer::attribute(const char* name, double value) {
  attribute(file_, name, H5T_NATIVE_DOUBLE, scalar(), &value);
}

void Hdf5Writer::attribute(const char* name, int64_t value) {
  attribute(file_, name, H5T_NATIVE_INT64, scalar(), &value);
}

void Hdf5Writer::attribute(const char* name, const std::vector<int64_t>& values) {
  attribute(
      file_, name, H5T_NATIVE_INT64, dataspace(std::vector<hsize_t>{values.size()}), values.data());
}

void Hdf5Writer::fixed_text_attribute(const char* name, const std::string& text) {
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, text.size() + 1);  // with the final zero: HDF5 refuses a length of 0
  H5Tset_cset(type, H5T_CSET_UTF8);
  attribute(file_, name, type, scalar(), text.c_str());
}

void Hdf5Writer::attribute(
    hid_t place, const char* name, hid_t type, hid_t space, const void* value) {
  const Hdf5Handle made(H5Acreate2(place, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check(made.valid() && H5Awrite(made, type, value) >= 0, name);
}

Hdf5Handle Hdf5Writer::reserve(const std::string& name,
                               hid_t type,
                               const std::vector<hsize_t>& sizes,
                               Chunks chunks) {
  const Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(properties, 0);
  H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
  // Whoever reserves a dataset writes every element of it; texts of variable length must have a
  // fill value all the same.
  if (H5Tdetect_class(type, H5T_VLEN) <= 0 && !H5Tis_variable_str(type)) {
    H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);
  }
  if (chunks == Chunks::kOneARow) {
    std::vector<hsize_t> chunk = sizes;
    chunk[0] = 1;
    H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
  }
  return create(name, type, dataspace(sizes), properties);
}

Hdf5Handle Hdf5Writer::create(const std::string& name, hid_t type, hid_t space, hid_t properties) {
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links, 1);
  Hdf5Handle made(H5Dcreate2(file_, name.c_str(), type, space, links, properties, H5P_DEFAULT),
                  H5Dclose);
  check(made.valid(), name);
  return made;
}

void Hdf5Writer::write_reserved(const std::string& name,
                                hid_t type,
                                const std::vector<hsize_t>& sizes,
                                const void* data) {
  fill(reserve(name, type, sizes), type, data, name);
}

void Hdf5Writer::fill(hid_t set, hid_t type, const void* data, const std::string& name) {
  check(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, name);
}

void Hdf5Writer::check(bool good, const std::string& name) const {
  if (!good) io::fail_io(formatted("write {} ({}) of", name, hdf5_reason()), path_, EIO);
}

void Hdf5Writer::close() {
  check(H5Fflush(file_, H5F_SCOPE_LOCAL) >= 0 && file_.reset(), "the structure");
}

}  // namespace vmla::data
