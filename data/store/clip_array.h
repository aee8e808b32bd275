#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vmla::data {

class Hdf5Reader;  // HDF5's header stays out of ours

/// A dataset of a file with one block of numbers a clip (/latents, /ode). Each block is contiguous
/// in the file, so that it can be read and written without HDF5.
struct ClipArray {
  /// Of a block: [F, C, H, W] of /latents, [states, F, C, H, W] of /ode.
  std::vector<int64_t> shape;
  bool fp32 = false;              // 32-bit floats; else the bits of bf16
  uint64_t bytes = 0;             // of a block; 0: the file has no such dataset
  std::vector<uint64_t> offsets;  // [n], of each block, in bytes from the start of the file
};

/// Where the big numbers of a latent dataset file lie.
struct ClipPlaces {
  ClipArray latents, ode;
  /// Rows text_rows[i] to text_rows[i + 1] of /text/embeddings belong to clip i: [n + 1].
  std::vector<int64_t> text_rows = {0};
  uint64_t text_offset = 0;  // of row 0, in bytes from the start of the file
};

/// Bytes of a block of `shape`.
uint64_t block_bytes(const std::vector<int64_t>& shape, bool fp32);

/// What a dataset of blocks must be.
struct ClipArrayRules {
  const char* name = nullptr;  // of the dataset
  int64_t clips = 0;
  size_t dimensions = 0;     // of a block
  bool may_be_fp32 = false;  // else only the bits of bf16 are allowed
};

/// Finds the blocks of a dataset. UserError if it has another shape, number of clips or type, is
/// compressed or not stored with one chunk a clip, or reaches beyond the end of the file.
ClipArray locate_clip_array(const Hdf5Reader& reader, const ClipArrayRules& rules);

}  // namespace vmla::data
