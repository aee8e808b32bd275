#pragma once

#include <cstdint>

#include "data/store/hdf5_handle.h"
#include "data/store/regular_file.h"

namespace vmla::data {

/// HDF5's way to the bytes of a file: a driver of its own that reads one descriptor and nothing
/// else. HDF5 can so open no second file, and neither locks nor writes anything. And it tells where
/// a chunk lies: HDF5 1.10 searches all chunks for each place it is asked for, but goes straight
/// to the bytes when it reads one. For .cpp files only, as data/store/hdf5_handle.h.
class Hdf5Source {
 public:
  /// `file` must outlive it, and it the files that HDF5 opens through it.
  explicit Hdf5Source(const RegularFile& file);
  Hdf5Source(const Hdf5Source&) = delete;
  Hdf5Source& operator=(const Hdf5Source&) = delete;

  /// File access properties that make H5Fopen read this source, whatever name it is given.
  Hdf5Handle access() const;
  /// Where HDF5 takes the file to end, counted from its first byte.
  uint64_t end() const { return end_; }

  struct Place {
    uint64_t offset = 0;  // from the file's first byte, a user block included
    uint64_t bytes = 0;
  };
  /// Where the numbers lie that HDF5 reads during `read`, if it reads them in one piece; else {}.
  /// They are not read: what HDF5 hands out is without meaning.
  template <class Read>
  Place place_of(const Read& read) {
    noting_ = true;
    noted_ = {};
    const bool done = read();
    noting_ = false;
    return done ? noted_ : Place{};
  }

 private:
  friend struct Hdf5SourceCalls;  // what HDF5 calls

  const RegularFile& file_;
  Hdf5Handle driver_;
  uint64_t end_ = 0;
  bool noting_ = false;
  Place noted_;
};

}  // namespace vmla::data
