#include "data/store/clip_array.h"

#include <algorithm>
#include <string>

#include "data/store/hdf5_reader.h"

namespace vmla::data {
namespace {

/// True if the dataset holds floats; bf16 bits are 16-bit integers that say so in an attribute.
bool holds_floats(const Hdf5Reader& reader, const Hdf5Dataset& set, bool may_be_fp32) {
  const Hdf5Handle type(H5Dget_type(set.id), H5Tclose);
  if (may_be_fp32 && H5Tget_class(type) == H5T_FLOAT) {
    reader.expect_type(set, H5T_FLOAT, 4, "32-bit floats or the bits of bfloat16");
    return true;
  }
  reader.expect_type(set, H5T_INTEGER, 2, "16-bit integers (the bits of bfloat16)");
  const std::string dtype = reader.text_attribute(set, "dtype");
  if (dtype != "bfloat16")
    reader.fail(set.name, "attribute dtype is \"{}\", must be \"bfloat16\"", dtype);
  return false;
}

/// True if the dataset is stored in chunks of one clip, false if in one piece; UserError if
/// otherwise.
bool has_chunks(const Hdf5Reader& reader, const Hdf5Dataset& set) {
  const Hdf5Handle properties(H5Dget_create_plist(set.id), H5Pclose);
  if (H5Pget_nfilters(properties) > 0) {
    reader.fail(set.name, "is compressed; store it uncompressed");
  }
  const H5D_layout_t layout = H5Pget_layout(properties);
  if (layout == H5D_CONTIGUOUS && H5Dget_offset(set.id) != HADDR_UNDEF) return false;
  if (layout != H5D_CHUNKED) reader.fail(set.name, "must be stored in chunks of one clip");
  std::vector<hsize_t> chunk(set.sizes.size());
  H5Pget_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
  std::vector<hsize_t> one_clip(set.sizes.begin(), set.sizes.end());
  one_clip[0] = 1;
  if (chunk != one_clip) reader.fail(set.name, "must be stored with one chunk a clip");
  return true;
}

}  // namespace

uint64_t block_bytes(const std::vector<int64_t>& shape, bool fp32) {
  uint64_t bytes = fp32 ? 4 : 2;
  for (const int64_t size : shape) bytes *= static_cast<uint64_t>(size);
  return bytes;
}

ClipArray locate_clip_array(const Hdf5Reader& reader, const ClipArrayRules& rules) {
  const Hdf5Dataset set = reader.open(rules.name, rules.dimensions + 1);
  if (set.sizes[0] != rules.clips) {
    reader.fail(set.name, "holds {} clips, /captions {}", set.sizes[0], rules.clips);
  }
  ClipArray array;
  array.fp32 = holds_floats(reader, set, rules.may_be_fp32);
  array.shape.assign(set.sizes.begin() + 1, set.sizes.end());
  array.bytes = block_bytes(array.shape, array.fp32);
  if (array.bytes == 0) reader.fail(set.name, "a dimension is 0");
  const bool chunked = has_chunks(reader, set);
  const uint64_t start = chunked ? 0 : H5Dget_offset(set.id);  // a user block is counted in
  array.offsets.reserve(static_cast<size_t>(rules.clips));
  for (int64_t i = 0; i < rules.clips; ++i) {
    const uint64_t offset = chunked ? reader.chunk_offset(set, i, array.bytes)
                                    : start + static_cast<uint64_t>(i) * array.bytes;
    if (offset > reader.file_bytes() || reader.file_bytes() - offset < array.bytes) {
      reader.fail(set.name, "clip {} reaches beyond the end of the file; it is truncated", i);
    }
    array.offsets.push_back(offset);
  }
  return array;
}

}  // namespace vmla::data
