#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/store/hdf5_handle.h"
#include "model/io/error.h"

namespace vmla::data {

/// An open dataset of a file that is being read.
struct Hdf5Dataset {
  std::string name;  // for messages
  Hdf5Handle id;
  std::vector<int64_t> sizes;
};

/// Reads an HDF5 file that may hold anything. Every complaint is a UserError, "file: name: what is
/// wrong", that names the file and the dataset or attribute. For .cpp files only, as
/// data/store/hdf5_handle.h.
class Hdf5Reader {
 public:
  /// `expected` says what the file should be ("a rank log"), for complaints about what is missing.
  Hdf5Reader(std::filesystem::path path, std::string expected);

  uint64_t file_bytes() const { return file_bytes_; }
  /// UserError "file: name: what", without the name where it is empty.
  [[noreturn]] void fail(std::string_view name, std::string_view what) const {
    fail_user("{}{}{}: {}", path_.string(), name.empty() ? "" : ": ", name, what);
  }
  template <class... Values>
    requires(sizeof...(Values) > 0)
  [[noreturn]] void fail(std::string_view name,
                         FormatFor<Values...> what,
                         const Values&... values) const {
    fail(name, formatted(what, values...));
  }

  /// Whether a dataset is there; `name` is "/set" or "/group/set".
  bool has(const std::string& name) const;
  bool has_attribute(const char* name) const { return H5Aexists(file_, name) > 0; }

  /// Whole datasets. Numbers come in any stored precision and are converted.
  Hdf5Array<double> doubles(const std::string& name) const;
  Hdf5Array<int64_t> integers(const std::string& name) const;
  /// One-dimensional, of variable or fixed length.
  std::vector<std::string> strings(const std::string& name) const;

  /// Attributes of the root.
  std::string text_attribute(const char* name) const;
  double number_attribute(const char* name) const;
  int64_t integer_attribute(const char* name) const { return integer_attributes(name, 1)[0]; }
  std::vector<int64_t> integer_attributes(const char* name, size_t count) const;
  std::string text_attribute(const Hdf5Dataset& set, const char* name) const;

  /// Opens a dataset of any, or of `dimensions`, dimensions. It claims no more elements than the
  /// file has bytes, so that memory for it may be allocated.
  Hdf5Dataset open(const std::string& name) const;
  Hdf5Dataset open(const std::string& name, size_t dimensions) const;
  /// Reads all of it, converted to the memory type `type`.
  void read(const Hdf5Dataset& set, hid_t type, void* into) const;
  /// Complains unless the elements are of class `wanted` and have `bytes` bytes each, little-endian
  /// (0: of any size). `words` completes the sentence "must hold".
  void expect_type(const Hdf5Dataset& set,
                   H5T_class_t wanted,
                   size_t bytes,
                   const char* words) const;
  /// A file that HDF5 closed ends where its data ends. Complains about one that goes on: what
  /// follows is a seal (data/store/file_seal.h) that lost its own end.
  void expect_end() const;

 private:
  template <class T>
  Hdf5Array<T> numbers(const std::string& name, hid_t type) const;
  std::string read_text_attribute(hid_t place, const char* name) const;
  Hdf5Handle open_attribute(hid_t place, const char* name) const;
  void read_number_attributes(const char* name, size_t count, hid_t type, void* into) const;

  std::filesystem::path path_;
  std::string expected_;
  uint64_t file_bytes_ = 0;
  Hdf5Session session_;
  Hdf5Handle file_;
};

}  // namespace vmla::data
