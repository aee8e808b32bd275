#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vmla::data {

/// The prompts of a text file: one a line, an empty line is the empty prompt, the end of the last
/// line starts none. UTF-8 (a byte order mark is left out), LF or CRLF. UserError for a missing or
/// empty file, and for bytes that are no UTF-8 or zero, with line, column and byte.
std::vector<std::string> read_prompt_file(const std::filesystem::path& path);

}  // namespace vmla::data
