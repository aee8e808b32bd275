#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vmla::data {

/// The prompts of a text file, one a line; an empty line is the empty prompt, and a line break at
/// the end starts no further one. UTF-8, with or without a byte order mark; LF or CRLF. UserError
/// for a file that is missing, empty or no regular file, for UTF-16, and, with line, column and
/// byte, for what is not UTF-8 or a zero byte. It needs no LibTorch (library vmla_captions), so
/// that what a run samples much later can be tried before its first step.
std::vector<std::string> read_prompt_file(const std::filesystem::path& path);

}  // namespace vmla::data
