#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

/// The little of HDF5 that this folder needs: whole arrays of numbers and a few attributes.
namespace vmla::analysis {

/// A dense array with its sizes.
template <class T>
struct Array {
  std::vector<int64_t> sizes;
  std::vector<T> values;  // row-major
};

/// Writes arrays into a new file. Every failure is a RunError that names the file and the dataset.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  /// `name` may hold groups ("k/spectrum"); they are created.
  void write(const std::string& name, const Array<double>& array);
  void write(const std::string& name, const Array<int64_t>& array);
  void attribute(const std::string& name, int64_t value);
  void attribute(const std::string& name, const std::string& value);
  /// Flushes and closes; a full disk shows here at the latest.
  void close();

 private:
  void write_raw(const std::string& name,
                 const std::vector<int64_t>& sizes,
                 int64_t type,
                 const void* data);
  std::filesystem::path path_;
  int64_t file_ = -1;
};

/// Reads such a file. A missing or damaged file, dataset or attribute is a UserError that names it.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& path);
  ~Hdf5Reader();
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;

  bool has(const std::string& name) const;
  Array<double> read_doubles(const std::string& name) const;
  Array<int64_t> read_integers(const std::string& name) const;
  int64_t integer_attribute(const std::string& name) const;
  std::string string_attribute(const std::string& name) const;

 private:
  template <class T>
  Array<T> read_array(const std::string& name, int64_t type) const;
  std::filesystem::path path_;
  int64_t file_ = -1;
};

}  // namespace vmla::analysis
