#include "data/store/clip_array.h"

#include <algorithm>
#include <string>

#include "data/store/hdf5_reader.h"

namespace vmla::data {
namespace {

/// True if the dataset holds floats; bf16 bits are 16-bit integers that say so in an attribute.
bool holds_floats(const Hdf5Reader& reader, hid_t set, const char* name, bool may_be_fp32) {
  const Hdf5Handle type(H5Dget_type(set), H5Tclose);
  if (may_be_fp32 && H5Tget_class(type) == H5T_FLOAT) {
    reader.expect_type(set, name, H5T_FLOAT, 4, "32-bit floats or the bits of bfloat16");
    return true;
  }
  reader.expect_type(set, name, H5T_INTEGER, 2, "16-bit integers (the bits of bfloat16)");
  const std::string dtype = reader.text_attribute(set, "dtype");
  if (dtype != "bfloat16")
    reader.fail(name, "attribute dtype is \"{}\", must be \"bfloat16\"", dtype);
  return false;
}

}  // namespace

uint64_t block_bytes(const std::vector<int64_t>& shape, bool fp32) {
  uint64_t bytes = fp32 ? 4 : 2;
  for (const int64_t size : shape) bytes *= static_cast<uint64_t>(size);
  return bytes;
}

ClipArray locate_clip_array(
    const Hdf5Reader& reader, const char* name, size_t rank, int64_t n, bool may_be_fp32) {
  ClipArray array;
  std::vector<int64_t> dims;
  const Hdf5Handle set = reader.open(name, dims, rank + 1);
  if (dims[0] != n) reader.fail(name, "holds {} clips, /captions {}", dims[0], n);
  array.fp32 = holds_floats(reader, set, name, may_be_fp32);
  array.shape.assign(dims.begin() + 1, dims.end());
  array.bytes = block_bytes(array.shape, array.fp32);
  if (array.bytes == 0) reader.fail(name, "a dimension is 0");

  const Hdf5Handle plist(H5Dget_create_plist(set), H5Pclose);
  const H5D_layout_t layout = H5Pget_layout(plist);
  if (H5Pget_nfilters(plist) > 0) reader.fail(name, "is compressed; store it uncompressed");
  const haddr_t start = layout == H5D_CONTIGUOUS ? H5Dget_offset(set) : HADDR_UNDEF;
  if (layout == H5D_CHUNKED) {
    std::vector<hsize_t> chunk(rank + 1);
    H5Pget_chunk(plist, static_cast<int>(rank + 1), chunk.data());
    const bool one_clip =
        chunk[0] == 1 &&
        std::equal(chunk.begin() + 1, chunk.end(), dims.begin() + 1, [](hsize_t a, int64_t b) {
          return a == static_cast<hsize_t>(b);
        });
    if (!one_clip) reader.fail(name, "must be stored with one chunk a clip");
  } else if (start == HADDR_UNDEF) {
    reader.fail(name, "must be stored in chunks of one clip");
  }
  for (int64_t i = 0; i < n; ++i) {
    haddr_t address = start + static_cast<uint64_t>(i) * array.bytes;
    if (layout == H5D_CHUNKED) {
      std::vector<hsize_t> corner(rank + 1, 0);
      corner[0] = static_cast<hsize_t>(i);
      hsize_t size = 0;
      unsigned filters = 0;
      if (H5Dget_chunk_info_by_coord(set, corner.data(), &filters, &address, &size) < 0) {
        reader.fail(name, "the index of its chunks is damaged: {}", hdf5_reason());
      }
      if (address == HADDR_UNDEF) reader.fail(name, "clip {} was never written", i);
    }
    if (address > reader.file_bytes() || reader.file_bytes() - address < array.bytes) {
      reader.fail(name, "clip {} reaches beyond the end of the file; it is truncated", i);
    }
    array.offsets.push_back(address);
  }
  return array;
}

}  // namespace vmla::data
