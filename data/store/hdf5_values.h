#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "data/store/hdf5_array.h"
#include "data/store/regular_file.h"

namespace vmla::data {

/// Which values of an HDF5 file to read. Datasets as Hdf5Reader takes their names, attributes of
/// the root.
struct Hdf5Wanted {
  std::vector<std::string> doubles, integers;  // datasets
  std::vector<std::string> optional_doubles;   // datasets that may be missing
  std::vector<std::string> integer_attributes, text_attributes;
};

/// What was read, by name.
struct Hdf5Values {
  std::map<std::string, Hdf5Array<double>> doubles;
  std::map<std::string, Hdf5Array<int64_t>> integers;
  std::map<std::string, int64_t> integer_attributes;
  std::map<std::string, std::string> text_attributes;
};

/// Reads them in the process vmla-hdf5: files from anywhere. `expected` says what the file should
/// be
/// ("a rank log"). UserError, naming the file and the value, if one is missing or of another kind.
Hdf5Values read_hdf5_values(const std::filesystem::path& path,
                            const std::string& expected,
                            const Hdf5Wanted& wanted);

// In vmla-hdf5.

/// `request` is "values", `expected`, and a letter and a name for each value.
Hdf5Values read_hdf5_values(RegularFile file, const std::vector<std::string>& request);
std::string pack_hdf5_values(const Hdf5Values& values);

}  // namespace vmla::data
