#pragma once

#include <cstdint>
#include <filesystem>

/// Room on the disk, asked for before a file is written. HDF5 neither reports a full disk in one
/// line nor survives it (it crashes at the program's end), so it must not meet one.
namespace vmla::data {

/// Makes the file system set `bytes` bytes aside for the file `path`, or throws a RunError that
/// names the file. File systems that cannot do it are asked for their free space instead.
void reserve_disk_space(const std::filesystem::path& path, uint64_t bytes);

/// Once more, for the empty file that HDF5 has made in the place of the first: nobody else takes
/// the room meanwhile. The file keeps its size.
void keep_disk_space(const std::filesystem::path& path, uint64_t bytes);

}  // namespace vmla::data
