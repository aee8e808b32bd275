#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace vmla::analysis {

/// The bytes of a file; nothing where it is missing or cannot be read, which is no fault here: a
/// report shows what a run folder holds.
std::optional<std::string> readable_text(const std::filesystem::path& path);

}  // namespace vmla::analysis
