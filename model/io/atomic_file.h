#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

/// Files and folders that appear complete or not at all: written under a temporary name in the same
/// folder, flushed to disk, then renamed. Every failure is a RunError that names the file and the
/// reason, and leaves what was there before as it was. Leftovers of processes that were killed are
/// removed by the next writer in the folder.
namespace vmla::io {

/// A name for an unfinished file beside `path`, with its extension: one that nobody can foresee and
/// put a link at. For writers that rename it themselves.
std::filesystem::path temporary_path(const std::filesystem::path& path);
/// Removes from `folder` the temporaries that processes of this machine have left which are gone.
void remove_stale_temporaries(const std::filesystem::path& folder);
/// Removes those of this process too: it is about to end.
void remove_own_temporaries(const std::filesystem::path& folder);

/// Writes `bytes` to `path`.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// Calls `write(temporary_path)`, then flushes the file and renames it to `path`. For writers that
/// need a path (HDF5, OpenCV).
void publish_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write);

/// Creates a folder under a temporary name, calls `fill(temporary)`, flushes every file in it and
/// the folder itself, and renames it to `folder`. An existing `folder` stays until the new one is
/// complete, then the two are exchanged in one step where the file system can do so. UserError
/// where `folder` is a file.
void publish_folder(const std::filesystem::path& folder,
                    const std::function<void(const std::filesystem::path&)>& fill);

/// Renames `complete`, a folder whose files have been flushed, to `folder` on the same file system.
/// If there was a `folder`, it is afterwards at `complete`, unless the file system cannot exchange
/// folders: then it is gone.
void move_folder_into_place(const std::filesystem::path& complete,
                            const std::filesystem::path& folder);

/// Flushes one file or folder to disk (fsync).
void flush_to_disk(const std::filesystem::path& path);

/// Renames within a file system.
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);

/// Removes `folder` with everything in it. It is renamed first, so that nobody sees half of it
/// under its own name.
void remove_folder(const std::filesystem::path& folder);

/// Makes the symlink `link` point to `target` (a name in the same folder), replacing an older link
/// in one step.
void publish_symlink(const std::filesystem::path& link, const std::string& target);

/// Far above the metrics of millions of steps.
inline constexpr uint64_t kMostTextBytes = uint64_t{1} << 32;
/// Reads a whole text file; UserError if it is missing, unreadable, no regular file or larger than
/// `most_bytes`.
std::string read_text_file(const std::filesystem::path& path, uint64_t most_bytes = kMostTextBytes);

/// SHA-256 of a file's bytes, as 64 hex digits.
std::string file_sha256(const std::filesystem::path& path);

/// For tests: every write, flush and rename above asks this hook first, with the operation
/// ("write", "flush", "rename") and the path. An errno other than 0 makes the operation fail with
/// it. kShortWrite makes a write fail as on a full disk, after half of its bytes. Null: no hook.
constexpr int kShortWrite = -1;
using FaultHook = std::function<int(std::string_view operation, const std::filesystem::path& path)>;
void set_fault_hook(FaultHook hook);

}  // namespace vmla::io
