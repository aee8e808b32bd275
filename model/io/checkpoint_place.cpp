// Where a checkpoint lies: which step folder a path stands for.
#include <algorithm>
#include <charconv>
#include <utility>

#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"

namespace vmla::io {
namespace fs = std::filesystem;
namespace {

/// N of "step_N", or -1.
int64_t step_of(const std::string& name) {
  constexpr std::string_view kPrefix = "step_";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t step = -1;
  const char* const last = name.data() + name.size();
  const auto [end, problem] = std::from_chars(name.data() + kPrefix.size(), last, step);
  return problem == std::errc() && end == last && step >= 0 ? step : -1;
}

}  // namespace

std::vector<fs::path> step_folders(const fs::path& checkpoints_folder) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code ignored;
  fs::directory_iterator entry(checkpoints_folder, ignored);
  for (; !ignored && entry != fs::directory_iterator(); entry.increment(ignored)) {
    const int64_t step = step_of(entry->path().filename().string());
    std::error_code gone;
    if (step >= 0 && entry->is_directory(gone)) found.emplace_back(step, entry->path());
  }
  std::ranges::sort(found);
  std::vector<fs::path> folders;
  for (auto& [step, path] : found) folders.push_back(std::move(path));
  return folders;
}

fs::path find_checkpoint(const fs::path& path) {
  std::error_code ignored;
  // The canonical path: `latest` may point elsewhere while the checkpoint is still in use.
  if (fs::exists(path / kManifestName, ignored)) return fs::canonical(path);
  for (const fs::path& folder : {path, path / "checkpoints"}) {
    const fs::path latest = folder / "latest";
    if (fs::exists(latest / kManifestName, ignored)) return fs::canonical(latest);
    // A run that was killed after its first checkpoint was renamed into place, before `latest` was
    // made: the folder is complete.
    const auto steps = step_folders(folder);
    if (!steps.empty() && fs::exists(steps.back() / kManifestName, ignored)) {
      return fs::canonical(steps.back());
    }
    if (fs::is_symlink(latest, ignored)) {
      fail_user("{}: points to {}, which holds no checkpoint",
                latest.string(),
                fs::read_symlink(latest, ignored).string());
    }
  }
  if (fs::is_symlink(path, ignored) && !fs::exists(path, ignored)) {
    fail_user("{}: points to {}, which does not exist",
              path.string(),
              fs::read_symlink(path, ignored).string());
  }
  return {};
}

}  // namespace vmla::io
