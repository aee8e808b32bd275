#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vmla::data {

class Hdf5Reader;  // HDF5's header stays out of ours

/// A dataset of a file with one block of numbers a clip (/latents, /ode): each block lies in one
/// piece, so that it can be read and written without HDF5.
struct ClipArray {
  std::vector<int64_t> shape;     // of a block
  bool fp32 = false;              // floats; else the bits of bf16
  uint64_t bytes = 0;             // of a block
  std::vector<uint64_t> offsets;  // of each block, in the file
};

/// Bytes of a block of `shape`.
uint64_t block_bytes(const std::vector<int64_t>& shape, bool fp32);

/// Finds the `n` blocks of `rank` dimensions of dataset `name`. UserError if it has another shape,
/// number of clips or type (floats only where `may_be_fp32`), is compressed or not stored with one
/// chunk a clip, or reaches beyond the end of the file.
ClipArray locate_clip_array(
    const Hdf5Reader& reader, const char* name, size_t rank, int64_t n, bool may_be_fp32);

}  // namespace vmla::data
