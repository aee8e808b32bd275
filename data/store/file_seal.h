#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

/// A seal behind the end of an HDF5 file: a SHA-256 of all that describes the data. HDF5 has no
/// checksums there and crashes inside itself on some damaged files; the seal is checked before HDF5
/// sees a byte. A program that changes the file through HDF5 cuts the seal off, and the file is
/// then taken unsealed, as files of other writers are.
namespace vmla::data {

/// Bytes [first, second) of a file.
using ByteRange = std::pair<uint64_t, uint64_t>;

/// The bytes that seal the file `path`, to be appended to it. `unsealed`: ranges left out (the big
/// data), in any order.
std::string make_seal(const std::filesystem::path& path, std::vector<ByteRange> unsealed);

enum class Seal { kNone, kGood, kBroken };
/// Whether the end of `path` is a seal and the file is still what was sealed.
Seal check_seal(const std::filesystem::path& path);

}  // namespace vmla::data
