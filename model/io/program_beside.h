#pragma once

#include <filesystem>
#include <string_view>

namespace vmla::io {

/// Path of another of the project's programs: beside the running one, or in the folder above it.
/// RunError "the program NAME, which PURPOSE, is not beside ..." if it is in neither.
std::filesystem::path program_beside(std::string_view name, std::string_view purpose);

}  // namespace vmla::io
