#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

/// A seal: a SHA-256 of everything in an HDF5 file that describes the data, behind the end of the
/// file, where HDF5 does not look. HDF5 has no checksums of its own there and crashes on some
/// damaged files, so the seal is checked before HDF5 sees a byte. A program that changes the file
/// through HDF5 cuts the seal off; the file then counts as unsealed, as those of other writers do.
namespace vmla::data {

/// Bytes [first, second) of a file.
using ByteRange = std::pair<uint64_t, uint64_t>;

/// The bytes that seal the file `path`, to be appended to it. The ranges `unsealed`, in any order,
/// are left out of the hash: hashing the latents would mean to read the whole file at every start.
std::string make_seal(const std::filesystem::path& path, std::vector<ByteRange> unsealed);

/// kNone: the file does not end with a seal. kBroken: it does, and is not what was sealed.
enum class Seal { kNone, kGood, kBroken };
/// Reads and compares the seal of `path`.
Seal check_seal(const std::filesystem::path& path);

}  // namespace vmla::data
