#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/store/regular_file.h"

/// The process vmla-hdf5, in which HDF5 reads files. HDF5 crashes, hangs or takes all memory on
/// some damaged files; there it costs the file and not the job.
namespace vmla::data {

/// What reading a file of `bytes` bytes may take. Far above what an undamaged file takes: a million
/// clips of the smallest size are read in a fifth of it.
struct Hdf5Limits {
  double processor_seconds;
  uint64_t memory_bytes;
};
Hdf5Limits hdf5_limits(uint64_t bytes);

/// Has vmla-hdf5 read the open file as the words `request` say (data/store/hdf5_child/main.cpp),
/// and returns its answer. UserError with what it complains of, or with how it died; RunError if it
/// cannot be started.
std::string ask_hdf5_child(const RegularFile& file, const std::vector<std::string>& request);

}  // namespace vmla::data
