#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/store/hdf5_handle.h"

namespace vmla::data {

/// Creates datasets and attributes in an open file; any failure is one RunError that names the
/// file. For .cpp files only, as data/store/hdf5_handle.h.
class Hdf5Layout {
 public:
  /// Both must outlive it.
  Hdf5Layout(const std::filesystem::path& path, const Hdf5Handle& file)
      : path_(path), file_(file) {}

  void attribute(hid_t place, const char* name, const std::string& value);
  void attribute(hid_t place, const char* name, double value);
  void attribute(hid_t place, const char* name, int64_t value);
  void attribute(hid_t place, const char* name, const std::vector<int64_t>& values);

  /// A dataset whose room in the file is there from the start. `one_chunk_a_row`: chunks of the
  /// first dimension.
  Hdf5Handle dataset(const char* name,
                     hid_t type,
                     const std::vector<hsize_t>& dims,
                     bool one_chunk_a_row);
  void fill(hid_t dataset, hid_t type, const void* data, const char* name);
  /// A dataset of variable-length UTF-8 strings.
  void strings(const char* name, const std::vector<std::string>& values);

  /// RunError with HDF5's reason unless `good`.
  void check(bool good, const char* name) const;

 private:
  void attribute(hid_t place, const char* name, hid_t type, hid_t space, const void* value);

  const std::filesystem::path& path_;
  const Hdf5Handle& file_;
};

}  // namespace vmla::data
