#pragma once

#include <cstddef>

/// Whole reads and writes on a blocking descriptor, for both ends of the pipes between a job and
/// vmla-decode.
namespace vmla::data {

/// Reads exactly `bytes`; false at the end of the stream or on an error.
bool read_exactly(int fd, void* into, size_t bytes);
/// Writes all of it; false when nobody reads any more. The caller keeps SIGPIPE from ending the
/// program.
bool write_exactly(int fd, const void* from, size_t bytes);

}  // namespace vmla::data
