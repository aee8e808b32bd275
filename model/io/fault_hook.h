#pragma once

#include <filesystem>
#include <string_view>

/// Inside of model/io: how writers pass the fault hook and word their failures.
namespace vmla::io {

/// Folders in which several writers prepare a checkpoint together (shared_save.h).
constexpr std::string_view kSharedSavePrefix = ".saving-";

/// Asks the fault hook; 0, or the errno to fail with.
int injected_fault(std::string_view operation, const std::filesystem::path& path);

/// Throws RunError "cannot VERB PATH: REASON", with the name the file is going to have, not its
/// temporary one.
[[noreturn]] void fail_io(std::string_view verb,
                          const std::filesystem::path& path,
                          int error_number);

}  // namespace vmla::io
