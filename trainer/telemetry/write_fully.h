#pragma once

#include <filesystem>
#include <string_view>

namespace vmla::trainer {

/// Writes all of `bytes` to the open file `fd`; they have reached the operating system when it
/// returns. RunError that names `path` on a fault.
void write_fully(int fd, std::string_view bytes, const std::filesystem::path& path);

}  // namespace vmla::trainer
