#pragma once

#include <cstdint>
#include <vector>

namespace vmla::data {

/// A whole HDF5 dataset of numbers in memory.
template <class T>
struct Hdf5Array {
  std::vector<int64_t> sizes;
  std::vector<T> values;  // row-major
};

}  // namespace vmla::data
