#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/store/hdf5_array.h"
#include "data/store/hdf5_handle.h"

namespace vmla::data {

/// Writes a new HDF5 file. Every failure is a RunError that names the file, the dataset or
/// attribute and HDF5's reason. Pass a temporary path from io::publish_file: what fails halfway
/// then leaves nothing behind. For .cpp files only, as data/store/hdf5_handle.h.
class Hdf5Writer {
 public:
  /// Creates the file, or empties it.
  explicit Hdf5Writer(std::filesystem::path path);

  /// A whole dataset of numbers. `name` is "/set" or "/group/set"; groups are created. HDF5 stamps
  /// it with the time.
  void write(const std::string& name, const Hdf5Array<double>& array);
  void write(const std::string& name, const Hdf5Array<int64_t>& array);
  /// A one-dimensional dataset of UTF-8 strings of variable length.
  void write(const std::string& name, const std::vector<std::string>& texts);

  /// Attributes of the root. Texts are UTF-8 strings of variable length, or of their own.
  void attribute(const char* name, const std::string& text) { attribute(file_, name, text); }
  void attribute(const char* name, double value);
  void attribute(const char* name, int64_t value);
  void attribute(const char* name, const std::vector<int64_t>& values);
  void fixed_text_attribute(const char* name, const std::string& text);
  /// An attribute of the dataset `set`.
  void attribute(hid_t set, const char* name, const std::string& text);

  enum class Chunks { kNone, kOneARow };
  /// A dataset whose bytes have their place in the file from now on, so that they can be written
  /// there without HDF5. It has no time stamp: equal content gives equal files, to the byte.
  Hdf5Handle reserve(const std::string& name,
                     hid_t type,
                     const std::vector<hsize_t>& sizes,
                     Chunks chunks = Chunks::kNone);
  /// A reserved dataset with its content; `data` holds elements of `type`.
  void write_reserved(const std::string& name,
                      hid_t type,
                      const std::vector<hsize_t>& sizes,
                      const void* data);

  /// RunError with HDF5's reason unless `good`.
  void check(bool good, const std::string& name) const;
  /// Flushes and closes; a full disk shows here at the latest.
  void close();

 private:
  void attribute(hid_t place, const char* name, hid_t type, hid_t space, const void* value);
  Hdf5Handle create(const std::string& name, hid_t type, hid_t space, hid_t properties);
  void write_numbers(const std::string& name,
                     hid_t type,
                     const std::vector<int64_t>& sizes,
                     const void* data);
  void fill(hid_t set, hid_t type, const void* data, const std::string& name);

  std::filesystem::path path_;
  Hdf5Session session_;
  Hdf5Handle file_;
};

}  // namespace vmla::data
