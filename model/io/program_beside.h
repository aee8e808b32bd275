#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

namespace vmla::io {

/// Path of another of the project's programs: beside the running one, or in the folder above it.
/// Nothing if it is in neither.
std::optional<std::filesystem::path> find_program_beside(std::string_view name);
/// The same. RunError "the program NAME, which PURPOSE, is not beside ..." if it is in neither.
std::filesystem::path program_beside(std::string_view name, std::string_view purpose);

}  // namespace vmla::io
