#include "model/io/atomic_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "model/io/error.h"
#include "model/io/fault_hook.h"
#include "model/io/file_writer.h"
#include "model/io/user_file.h"

namespace vmla::io {
namespace fs = std::filesystem;
namespace {

// A temporary is called ".tmp-HOST+PID+START+COUNT-RANDOM+NAME". START, the process's start time in
// clock ticks, tells a live owner from a later process with the same number. RANDOM keeps others
// who may write to the folder from putting something at the name beforehand.
constexpr std::string_view kTemporary = ".tmp-";

std::mutex hook_mutex;
FaultHook fault_hook;

/// Field 22 of /proc/PID/stat, empty when there is no such process. The second field, the program's
/// name, may hold blanks and parentheses, so fields are counted from the last ')'.
std::string process_start(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string line;
  if (!std::getline(in, line)) return {};
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return field;
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  std::string text = name;
  for (char& c : text) {
    if (c == '+' || c == '/') c = '_';
  }
  return text;
}

struct TemporaryName {
  std::string host, pid, start, name;
};

/// Takes a temporary's name apart; false for any other name.
bool parse_temporary(const std::string& file_name, TemporaryName& out) {
  if (!file_name.starts_with(kTemporary)) return false;
  std::istringstream parts(file_name.substr(kTemporary.size()));
  std::string count;
  return std::getline(parts, out.host, '+') && std::getline(parts, out.pid, '+') &&
         std::getline(parts, out.start, '+') && std::getline(parts, count, '+') &&
         std::getline(parts, out.name);
}

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

/// "a/b/" and "a/b" mean the same place.
fs::path without_trailing_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

/// Removes the temporaries of this machine's processes from `folder`, those that live excepted;
/// with `own` those of this process as well.
void remove_temporaries(const fs::path& folder, bool own) {
  const std::string host = host_name(), pid = std::to_string(getpid());
  std::error_code ignored;
  fs::directory_iterator entry(folder, ignored);
  for (; !ignored && entry != fs::directory_iterator(); entry.increment(ignored)) {
    TemporaryName name;
    if (!parse_temporary(entry->path().filename().string(), name) || name.host != host) continue;
    const bool is_own = own && name.pid == pid;
    std::error_code gone_already;
    if (is_own || name.start != process_start(name.pid))
      fs::remove_all(entry->path(), gone_already);
  }
}

/// Removes a temporary when an exception leaves the scope.
class TemporaryGuard {
 public:
  explicit TemporaryGuard(fs::path path) : path_(std::move(path)) {}
  ~TemporaryGuard() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryGuard(const TemporaryGuard&) = delete;
  TemporaryGuard& operator=(const TemporaryGuard&) = delete;

 private:
  fs::path path_;
};

/// fsync of `path`; messages name `shown`.
void flush_to_disk(const fs::path& path, const fs::path& shown) {
  if (const int fault = injected_fault("flush", path)) fail_io("flush", shown, fault);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_io("flush", shown, errno);
  const int result = fsync(fd);
  const int problem = errno;
  close(fd);
  // EINVAL: the file system has no fsync for this kind of file (folders on some network mounts).
  if (result != 0 && problem != EINVAL) fail_io("flush", shown, problem);
}

/// Swaps a complete new folder with the one in place, which ends up at `fresh`.
void exchange_folders(const fs::path& fresh, const fs::path& folder) {
  if (const int fault = injected_fault("rename", folder)) fail_io("replace", folder, fault);
  if (syscall(SYS_renameat2, AT_FDCWD, fresh.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) ==
      0) {
    return;
  }
  if (errno != EINVAL && errno != ENOSYS) fail_io("replace", folder, errno);
  // This file system cannot exchange (NFS). The old folder stays whole under a visible name for the
  // moment between two renames, and comes back if the second one fails.
  const fs::path aside = fs::path(folder.string() + ".replaced");
  if (std::rename(folder.c_str(), aside.c_str()) != 0) fail_io("replace", folder, errno);
  if (std::rename(fresh.c_str(), folder.c_str()) != 0) {
    const int problem = errno;
    std::rename(aside.c_str(), folder.c_str());
    fail_io("replace", folder, problem);
  }
  std::error_code ignored;
  fs::remove_all(aside, ignored);
}

void create_parent(const fs::path& path) {
  std::error_code problem;
  fs::create_directories(folder_of(path), problem);
  if (problem) fail_io("create", folder_of(path), problem.value());
}

}  // namespace

fs::path temporary_path(const fs::path& path) {
  static std::atomic<uint64_t> count{0};
  const std::string pid = std::to_string(getpid());  // not cached: a fork has its own
  uint64_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random) random = std::random_device()();
  // The end of the name, with its extension: names may be as long as a file system takes already.
  constexpr size_t kTail = 48;
  const std::string name = path.filename().string();
  return folder_of(path) / formatted("{}{}+{}+{}+{}-{}+{}",
                                     kTemporary,
                                     host_name(),
                                     pid,
                                     process_start(pid),
                                     count++,
                                     random,
                                     name.substr(name.size() - std::min(name.size(), kTail)));
}

void remove_stale_temporaries(const fs::path& folder) {
  remove_temporaries(folder, /*own=*/false);
}

void remove_own_temporaries(const fs::path& folder) {
  remove_temporaries(folder, /*own=*/true);
}

int injected_fault(std::string_view operation, const fs::path& path) {
  const std::lock_guard lock(hook_mutex);
  return fault_hook ? fault_hook(operation, path) : 0;
}

void fail_io(std::string_view verb, const fs::path& path, int error_number) {
  fs::path shown;
  for (const fs::path& part : path) {
    TemporaryName name;
    if (part.string().starts_with(kSharedSavePrefix)) continue;  // step_N lies in it
    shown /= parse_temporary(part.string(), name) ? fs::path(name.name) : part;
  }
  fail_run("cannot {} {}: {}", verb, shown.string(), std::strerror(error_number));
}

void set_fault_hook(FaultHook hook) {
  const std::lock_guard lock(hook_mutex);
  fault_hook = std::move(hook);
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  publish_file(path, [&](const fs::path& temporary) {
    FileWriter file(temporary);
    file.write(bytes.data(), bytes.size());
    file.close();
  });
}

void publish_file(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  create_parent(path);
  remove_stale_temporaries(folder_of(path));
  const fs::path temporary = temporary_path(path);
  const TemporaryGuard guard(temporary);
  write(temporary);
  flush_to_disk(temporary, path);
  rename_path(temporary, path);
  flush_to_disk(folder_of(path), folder_of(path));
}

void publish_folder(const fs::path& requested, const std::function<void(const fs::path&)>& fill) {
  const fs::path folder = without_trailing_slash(requested);
  // A file in its place would be exchanged for the folder, and removed.
  std::error_code ignored;
  if (fs::exists(folder, ignored) && !fs::is_directory(folder, ignored)) {
    fail_user("{}: is a file, and a folder is to be written; name another", folder.string());
  }
  create_parent(folder);
  remove_stale_temporaries(folder_of(folder));
  const fs::path temporary = temporary_path(folder);
  const TemporaryGuard guard(temporary);
  if (mkdir(temporary.c_str(), 0777) != 0) fail_io("create", folder, errno);
  fill(temporary);
  for (const auto& entry : fs::recursive_directory_iterator(temporary)) {
    if (entry.is_symlink()) continue;  // lives in its folder, which is flushed
    flush_to_disk(entry.path(), folder / entry.path().lexically_relative(temporary));
  }
  flush_to_disk(temporary, folder);
  move_folder_into_place(temporary, folder);  // the guard then removes the old one
}

void move_folder_into_place(const fs::path& complete, const fs::path& folder) {
  if (fs::exists(fs::symlink_status(folder))) {
    exchange_folders(complete, folder);
  } else {
    rename_path(complete, folder);
  }
  flush_to_disk(folder_of(folder), folder_of(folder));
}

void flush_to_disk(const fs::path& path) {
  flush_to_disk(path, path);
}

void rename_path(const fs::path& from, const fs::path& to) {
  if (const int fault = injected_fault("rename", to)) fail_io("rename a new file to", to, fault);
  if (std::rename(from.c_str(), to.c_str()) != 0) fail_io("rename a new file to", to, errno);
}

void remove_folder(const fs::path& requested) {
  const fs::path folder = without_trailing_slash(requested);
  const fs::path temporary = temporary_path(folder);
  const TemporaryGuard guard(temporary);
  if (const int fault = injected_fault("rename", folder)) fail_io("remove", folder, fault);
  if (std::rename(folder.c_str(), temporary.c_str()) != 0) fail_io("remove", folder, errno);
}

void publish_symlink(const fs::path& link, const std::string& target) {
  create_parent(link);
  const fs::path temporary = temporary_path(link);
  const TemporaryGuard guard(temporary);
  if (symlink(target.c_str(), temporary.c_str()) != 0) fail_io("create", link, errno);
  rename_path(temporary, link);
  flush_to_disk(folder_of(link), folder_of(link));
}

std::string read_text_file(const fs::path& path, uint64_t most_bytes) {
  const int fd = open_user_file(path);
  struct stat info = {};
  // A hole of terabytes costs its maker nothing.
  const bool too_large =
      fstat(fd, &info) == 0 && info.st_size > 0 && static_cast<uint64_t>(info.st_size) > most_bytes;
  std::string text;
  std::vector<char> buffer(size_t{1} << 16);
  ssize_t count = 0;
  do {
    if (too_large) break;
    count = read(fd, buffer.data(), buffer.size());
    if (count > 0) text.append(buffer.data(), static_cast<size_t>(count));
  } while (count > 0 || (count < 0 && errno == EINTR));
  const int problem = errno;
  close(fd);
  if (too_large) {
    fail_user("cannot read {}: {} bytes are too many for a text; at most {} are read",
              path.string(),
              info.st_size,
              most_bytes);
  }
  if (count < 0) fail_user("cannot read {}: {}", path.string(), std::strerror(problem));
  return text;
}

}  // namespace vmla::io
