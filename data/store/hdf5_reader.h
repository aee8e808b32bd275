#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/store/hdf5_array.h"
#include "data/store/hdf5_handle.h"
#include "data/store/hdf5_source.h"
#include "data/store/regular_file.h"
#include "model/io/error.h"

namespace vmla::data {

/// An open dataset of a file that is being read.
struct Hdf5Dataset {
  std::string name;  // for messages
  Hdf5Handle id;
  std::vector<int64_t> sizes;
};

/// Reads an HDF5 file that may hold anything, and that file alone: links to other files and numbers
/// stored in other files are refused, and nothing is allocated by a size that the file cannot hold.
/// Every complaint is a UserError, "file: name: what is wrong", that names the file and the dataset
/// or attribute. HDF5 itself crashes or hangs on some damaged files; a file of unknown origin
/// belongs in the process vmla-hdf5 (data/store/hdf5_child.h). For .cpp files only, as
/// data/store/hdf5_handle.h.
class Hdf5Reader {
 public:
  /// `expected` says what the file should be ("a rank log"), for complaints about what is missing.
  Hdf5Reader(RegularFile file, std::string expected);
  Hdf5Reader(std::filesystem::path path, std::string expected)
      : Hdf5Reader(RegularFile(std::move(path)), std::move(expected)) {}
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;

  uint64_t file_bytes() const { return disk_.bytes(); }
  /// UserError "file: name: what", without the name where it is empty.
  [[noreturn]] void fail(std::string_view name, std::string_view what) const {
    fail_user("{}{}{}: {}", disk_.path().string(), name.empty() ? "" : ": ", name, what);
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

  /// Opens a dataset of any, or of `dimensions`, dimensions. It claims no more bytes than the file
  /// has (if it is compressed, 16 times as many), so that memory for it may be allocated.
  Hdf5Dataset open(const std::string& name) const;
  Hdf5Dataset open(const std::string& name, size_t dimensions) const;
  /// Reads all of it, converted to the memory type `type`. Texts of variable length are allocated;
  /// release() frees them. Those of a file together are no larger than the file.
  void read(const Hdf5Dataset& set, hid_t type, void* into) const;
  void release(const Hdf5Dataset& set, hid_t type, void* texts) const;
  /// Where chunk `row` of a dataset of `bytes` bytes a row lies in the file. Complains if it was
  /// never written.
  uint64_t chunk_offset(const Hdf5Dataset& set, int64_t row, uint64_t bytes) const;
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

  void expect_no_other_file(const std::string& name) const;
  void expect_room(const Hdf5Dataset& set) const;

  RegularFile disk_;
  std::string expected_;
  Hdf5Session session_;
  mutable Hdf5Source source_;
  mutable uint64_t text_budget_;  // bytes that texts of variable length may still take
  Hdf5Handle within_;             // access to links and datasets
  Hdf5Handle transfer_;           // of texts
  Hdf5Handle file_;
  mutable std::vector<char> unread_;  // what HDF5 thinks it reads a chunk into
};

}  // namespace vmla::data
