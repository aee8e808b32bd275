#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

/// Files at names that others know beforehand, such as a run folder's run.lock: whoever may write
/// to the folder can have put something else there.
namespace vmla::io {

/// Opens `path` with the flags of open(2) and close-on-exec, if it is a regular file with one name
/// or, with O_CREAT, is not there yet. -1 with errno otherwise: ELOOP for a symbolic link, EMLINK
/// for a file that has other names too, ENXIO for what is no regular file (a pipe is not waited
/// for).
int open_regular_file(const std::filesystem::path& path, int flags, unsigned mode = 0666);

/// Why open_regular_file failed, for "PATH: WHY": says what stands there instead, or what the
/// system says.
std::string open_problem(int error_number);

/// The first `most` bytes of a regular file; "" where it is none, or cannot be read.
std::string head_of_file(const std::filesystem::path& path, size_t most);

}  // namespace vmla::io
