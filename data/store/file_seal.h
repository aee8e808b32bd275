#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "data/store/regular_file.h"

/// A seal stands behind the end of an HDF5 file, where HDF5 does not look, and covers every byte of
/// it. Its hash is of everything that describes the data, and is checked when the file is opened,
/// before HDF5 sees a byte: HDF5 has no checksums of its own there. The numbers of the clips have
/// digests of their own, which the hash covers and which are checked when a clip is first read and
/// when the file has changed since: to hash them at every start would mean to read the whole file.
/// A program that changes the file through HDF5 cuts the seal off; the file then counts as
/// unsealed, as those of other writers do.
///
/// From the end of the HDF5 data on: digests of 32 bytes, [n] of the latents, [n] of the ODE
/// states, [n] of the text embeddings, whichever there are, and a DigestEnd; then what older files
/// have too, the ranges of bytes that the hash leaves out and the footer.
namespace vmla::data {

/// Bytes [first, second) of a file.
using ByteRange = std::pair<uint64_t, uint64_t>;

/// What a digest is of.
enum class ClipNumbers { kLatents, kOde, kText };

/// Digests of the clips of a file that is being written.
class ClipDigests {
 public:
  ClipDigests(size_t clips, bool latents, bool ode);
  void set(ClipNumbers what, size_t clip, const void* bytes, size_t count);
  /// Their bytes in the file; none for a file without clips.
  std::string bytes() const;

 private:
  size_t clips_;
  std::string digests_[3];  // by ClipNumbers
};

/// The bytes that seal the file `path`, which ends with the digests, to be appended to it. The
/// ranges `unsealed`, in any order, are left out of the hash.
std::string make_seal(const std::filesystem::path& path, std::vector<ByteRange> unsealed);

/// kNone: the file does not end with a seal. kBroken: it does, and is not what was sealed.
enum class Seal { kNone, kGood, kBroken };

struct SealState {
  Seal seal = Seal::kNone;
  std::string hash;    // of a good seal
  uint64_t clips = 0;  // that have digests; 0 in files of older versions
  /// Where the digests of each ClipNumbers begin in the file; 0 where there are none.
  uint64_t digests_at[3] = {0, 0, 0};
};

/// Reads and compares the seal of a file.
SealState check_seal(const RegularFile& file);

/// Whether the numbers of a clip, just read into `bytes`, are those that were written; true for
/// files without digests.
bool is_as_written(const RegularFile& file,
                   const SealState& state,
                   ClipNumbers what,
                   size_t clip,
                   const void* bytes,
                   size_t count);

}  // namespace vmla::data
