#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

/// Text that users write: captions and prompts. No LibTorch.
namespace vmla::data {

/// A file of captions or prompts is read whole; one above this size is something else.
inline constexpr uint64_t kMostFileBytes = uint64_t{2} << 30;

/// The UTF-8 text of a file, without a byte order mark in front. UserError, with the path, for a
/// file that is missing, no regular file (a pipe is not waited for) or larger than `most_bytes`;
/// for UTF-16; and, with line, column and byte, for what is not UTF-8 or a zero byte.
std::string read_text(const std::filesystem::path& path, uint64_t most_bytes = kMostFileBytes);

/// The same check of a text that came out of a file: UserError, with `where` in front, for what is
/// not UTF-8 or a zero byte. Columns count characters, from 1.
void check_text(std::string_view text, const std::string& where);

}  // namespace vmla::data
