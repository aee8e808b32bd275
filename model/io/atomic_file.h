#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

/// Files that appear whole or not at all. Every failure is a RunError that names the file and the
/// reason; what was at the place before is then untouched.
namespace vmla::io {

/// Writes `bytes` under a temporary name beside `path`, flushes, renames over `path`, flushes the
/// folder.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Calls `write(temporary_path)`, then flushes and renames. For writers that need a path (HDF5,
/// OpenCV).
void publish_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write);

/// Creates `folder` under a temporary name, calls `fill(temporary)`, flushes every file in it and
/// the folder, renames it into place. An existing `folder` is replaced only after the new one is
/// complete.
void publish_folder(const std::filesystem::path& folder,
                    const std::function<void(const std::filesystem::path&)>& fill);

/// Moves `complete`, a folder whose files are on disk, to `folder` on the same file
/// system by one rename; what was at `folder` is then at `complete`.
void move_folder_into_place(const std::filesystem::path& complete,
                            const std::filesystem::path& folder);

/// Flushes one file or folder to disk.
void flush_to_disk(const std::filesystem::path& path);

/// Renames within a file system, through the fault hook.
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);

/// Removes `folder` with everything in it; it disappears by one rename, so nobody ever sees half of
/// it.
void remove_folder(const std::filesystem::path& folder);

/// Points the symlink `link` at `target` (a name in the same folder) by one rename.
void publish_symlink(const std::filesystem::path& link, const std::string& target);

/// Reads a whole text file; UserError if it is missing or unreadable.
std::string read_text_file(const std::filesystem::path& path);

/// SHA-256 of a file's bytes, as 64 hex digits.
std::string file_sha256(const std::filesystem::path& path);

/// The hook through which every write, flush and rename above passes; tests make the k-th one fail.
/// Called with the operation ("write", "flush", "rename") and the path; returning a non-zero errno
/// fails it. kShortWrite for a write: half of the bytes get there, then the disk is full.
constexpr int kShortWrite = -1;
using FaultHook = std::function<int(std::string_view operation, const std::filesystem::path& path)>;
void set_fault_hook(FaultHook hook);

}  // namespace vmla::io
