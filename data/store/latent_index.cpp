#include "data/store/latent_index.h"

#include <algorithm>

#include "data/store/hdf5_child.h"
#include "data/store/latent_index_bytes.h"
#include "model/io/error.h"

namespace vmla::data {
namespace {

/// Whether `bytes` bytes lie in a file of `file_bytes` from `offset` on.
bool lies_within(uint64_t offset, uint64_t bytes, uint64_t file_bytes) {
  return offset <= file_bytes && file_bytes - offset >= bytes;
}

bool fits(const ClipArray& array, size_t clips, uint64_t file_bytes) {
  if (array.bytes == 0) return array.offsets.empty();
  uint64_t bytes = array.fp32 ? 4 : 2;
  for (const int64_t size : array.shape) {
    if (size < 1 || static_cast<uint64_t>(size) > file_bytes / bytes) return false;
    bytes *= static_cast<uint64_t>(size);
  }
  return bytes == array.bytes && array.offsets.size() == clips &&
         std::all_of(array.offsets.begin(), array.offsets.end(), [&](uint64_t offset) {
           return lies_within(offset, bytes, file_bytes);
         });
}

/// Whether everything that is read by these numbers lies in the file and in the memory that is set
/// aside for it. HDF5 may have been led astray by the file, and its process with it.
bool is_consistent(const LatentIndex& index, uint64_t file_bytes) {
  const std::vector<int64_t>& rows = index.places.text_rows;
  const size_t clips = index.clips.size();
  if (rows.size() != clips + 1 || rows[0] != 0) return false;
  for (size_t i = 0; i < clips; ++i) {
    if (rows[i + 1] <= rows[i] || rows[i + 1] - rows[i] != index.clips[i].text_rows) return false;
  }
  const int64_t dim = index.info.text_dim;
  const auto floats = static_cast<int64_t>(file_bytes * 16);
  if (dim < 0 || (clips > 0 && (dim == 0 || rows.back() > floats / dim))) return false;
  if (!index.text.empty()) {
    if (static_cast<int64_t>(index.text.size()) != rows.back() * dim) return false;
  } else if (!lies_within(index.places.text_offset,
                          static_cast<uint64_t>(rows.back() * dim) * sizeof(float),
                          file_bytes)) {
    return false;
  }
  if (dim > 0 && index.empty_text.size() % static_cast<size_t>(dim) != 0) return false;
  return fits(index.places.latents, clips, file_bytes) && fits(index.places.ode, clips, file_bytes);
}

}  // namespace

LatentIndex read_latent_index(const RegularFile& file, bool sealed) {
  const std::string path = file.path().string();
  if (file.bytes() == 0) fail_user("{}: the file is empty", path);
  LatentIndex index;
  const std::string bytes = ask_hdf5_child(file, {kAskForIndex, sealed ? "sealed" : "unsealed"});
  if (!unpack_latent_index(bytes, index) || !is_consistent(index, file.bytes())) {
    fail_user("{}: damaged: HDF5 reads contradictions from it", path);
  }
  return index;
}

}  // namespace vmla::data
