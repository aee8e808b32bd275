#pragma once

#include <filesystem>
#include <string_view>

/// Internal to model/io: how its writers ask the fault hook and word their failures.
namespace vmla::io {

/// Prefix of the folders in which several writers prepare a checkpoint together (shared_save.h).
constexpr std::string_view kSharedSavePrefix = ".saving-";

/// What the fault hook says: 0, or the errno to fail with.
int injected_fault(std::string_view operation, const std::filesystem::path& path);

/// Throws RunError "cannot VERB PATH: REASON". A temporary name in the path is shown as the name
/// that the file was going to get.
[[noreturn]] void fail_io(std::string_view verb,
                          const std::filesystem::path& path,
                          int error_number);

}  // namespace vmla::io
