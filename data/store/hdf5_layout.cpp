#include "data/store/hdf5_layout.h"

#include <cerrno>

#include "model/io/error.h"
#include "model/io/fault_hook.h"

namespace vmla::data {

void Hdf5Layout::attribute(hid_t place, const char* name, const std::string& value) {
  const Hdf5Handle type = hdf5_string_type();
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const char* text = value.c_str();
  attribute(place, name, type, space, &text);
}

void Hdf5Layout::attribute(hid_t place, const char* name, double value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  attribute(place, name, H5T_NATIVE_DOUBLE, space, &value);
}

void Hdf5Layout::attribute(hid_t place, const char* name, int64_t value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  attribute(place, name, H5T_NATIVE_INT64, space, &value);
}

void Hdf5Layout::attribute(hid_t place, const char* name, const std::vector<int64_t>& values) {
  const hsize_t size = values.size();
  const Hdf5Handle space(H5Screate_simple(1, &size, nullptr), H5Sclose);
  attribute(place, name, H5T_NATIVE_INT64, space, values.data());
}

void Hdf5Layout::attribute(
    hid_t place, const char* name, hid_t type, hid_t space, const void* value) {
  const Hdf5Handle made(H5Acreate2(place, name, type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  check(made.valid() && H5Awrite(made, type, value) >= 0, name);
}

Hdf5Handle Hdf5Layout::dataset(const char* name,
                               hid_t type,
                               const std::vector<hsize_t>& dims,
                               bool one_chunk_a_row) {
  const Hdf5Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
                         H5Sclose);
  const Hdf5Handle plist(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  // No time stamps: equal inputs give equal files, to the byte.
  H5Pset_obj_track_times(plist, 0);
  H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY);
  // Every element is written below; texts of variable length must have a fill value all the same.
  if (H5Tdetect_class(type, H5T_VLEN) <= 0 && !H5Tis_variable_str(type)) {
    H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER);
  }
  if (one_chunk_a_row) {
    std::vector<hsize_t> chunk = dims;
    chunk[0] = 1;
    H5Pset_chunk(plist, static_cast<int>(chunk.size()), chunk.data());
  }
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links, 1);
  Hdf5Handle made(H5Dcreate2(file_, name, type, space, links, plist, H5P_DEFAULT), H5Dclose);
  check(made.valid(), name);
  return made;
}

void Hdf5Layout::fill(hid_t dataset, hid_t type, const void* data, const char* name) {
  check(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, name);
}

void Hdf5Layout::strings(const char* name, const std::vector<std::string>& values) {
  const Hdf5Handle type = hdf5_string_type();
  std::vector<const char*> texts;
  for (const std::string& value : values) texts.push_back(value.c_str());
  const Hdf5Handle set = dataset(name, type, {values.size()}, false);
  fill(set, type, texts.data(), name);
}

void Hdf5Layout::check(bool good, const char* name) const {
  if (!good) io::fail_io(formatted("write {} ({}) of", name, hdf5_reason()), path_, EIO);
}

}  // namespace vmla::data
