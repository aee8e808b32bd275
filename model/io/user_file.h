#pragma once

#include <filesystem>

namespace vmla::io {

/// Opens a file that a user named, to be read. The one way to do so: a pipe would make the program
/// wait for a writer for ever, a device may have no end, a folder has nothing to read. Returns a
/// file descriptor that the caller closes. UserError if `path` is missing, unreadable or no regular
/// file (a symbolic link to one is).
int open_user_file(const std::filesystem::path& path);

}  // namespace vmla::io
