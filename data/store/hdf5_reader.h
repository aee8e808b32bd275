#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/store/hdf5_handle.h"
#include "model/io/error.h"

namespace vmla::data {

/// Reads an HDF5 file that may hold anything. Every complaint is a UserError that names the file
/// and the dataset or attribute. For .cpp files only, as data/store/hdf5_handle.h.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(std::filesystem::path path);

  hid_t file() const { return file_; }
  uint64_t file_bytes() const { return file_bytes_; }
  /// UserError: "file: name: what", without the name where it is empty.
  [[noreturn]] void fail(const char* name, std::string_view what) const {
    fail_user("{}{}{}: {}", path_.string(), name[0] == '\0' ? "" : ": ", name, what);
  }
  template <class... Values>
  [[noreturn]] void fail(const char* name,
                         FormatFor<Values...> what,
                         const Values&... values) const {
    fail(name, formatted(what, values...));
  }

  /// `name` is "/set" or "/group/set".
  bool has(const std::string& name) const;
  bool has_attribute(const char* name) const { return H5Aexists(file_, name) > 0; }

  /// Opens a dataset of `rank` dimensions, whose sizes go to `dims`.
  Hdf5Handle open(const char* name, std::vector<int64_t>& dims, size_t rank) const;
  void read(hid_t set, hid_t type, void* into, const char* name) const;
  /// `bytes` 0: any size. `words` completes "must hold".
  void expect_type(
      hid_t set, const char* name, H5T_class_t wanted, size_t bytes, const char* words) const;
  /// A file that HDF5 closed ends where its data ends; more is a seal that lost its own end.
  void expect_end() const;

  /// A one-dimensional dataset of strings, of variable or fixed length.
  std::vector<std::string> strings(const char* name) const;
  std::string text_attribute(hid_t place, const char* name) const;
  double number_attribute(const char* name) const;
  std::vector<int64_t> integer_attributes(const char* name, size_t count) const;

 private:
  Hdf5Handle attribute(hid_t place, const char* name) const;
  void read_numbers(const char* name, size_t count, hid_t type, void* into) const;

  std::filesystem::path path_;
  uint64_t file_bytes_;
  Hdf5Handle file_;
};

}  // namespace vmla::data
