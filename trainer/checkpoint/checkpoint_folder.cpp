#include "trainer/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <charconv>

#include "model/formats/checkpoint_reader.h"
#include "model/io/atomic_file.h"
#include "model/io/checkpoint_manifest.h"
#include "model/io/error.h"

namespace vmla::trainer {
namespace fs = std::filesystem;
namespace {

/// What is wrong with a checkpoint, as far as reader `index` of `count` compares its files; empty:
/// nothing.
std::string problem_in(const fs::path& folder, int64_t index, int64_t count) {
  try {
    model::verify_share({folder, io::read_manifest(folder)}, index, count);
  } catch (const UserError& problem) {
    return problem.what();
  }
  return {};
}

}  // namespace

std::vector<fs::path> list_checkpoints(const fs::path& checkpoints_folder) {
  std::vector<fs::path> folders = io::step_folders(checkpoints_folder);
  std::erase_if(folders,
                [](const fs::path& folder) { return !fs::exists(folder / io::kManifestName); });
  return folders;
}

std::vector<fs::path> prune_checkpoints(const fs::path& checkpoints_folder,
                                        const Retention& retention) {
  const std::vector<fs::path> folders = io::step_folders(checkpoints_folder);
  const size_t newest =
      std::min(folders.size(), static_cast<size_t>(std::max<int64_t>(1, retention.keep_last)));
  std::error_code ignored;
  const fs::path latest = fs::read_symlink(checkpoints_folder / "latest", ignored);
  std::vector<fs::path> removed;
  for (size_t i = 0; i + newest < folders.size(); ++i) {
    const std::string name = folders[i].filename().string();
    int64_t step = 0;  // step_folders() has read it already
    std::from_chars(name.data() + name.find('_') + 1, name.data() + name.size(), step);
    const bool is_kept = retention.keep_every > 0 && step % retention.keep_every == 0;
    if (is_kept || folders[i].filename() == latest) continue;
    io::remove_folder(folders[i]);
    removed.push_back(folders[i]);
  }
  return removed;
}

std::optional<fs::path> newest_intact_checkpoint(const fs::path& checkpoints_folder,
                                                 std::vector<std::string>* complaints,
                                                 const Readers& readers) {
  // Reader 0's list decides: another machine may see a network file system's folders a moment
  // later.
  std::vector<fs::path> folders = io::step_folders(checkpoints_folder);
  for (;;) {
    const fs::path folder = readers.first_says(folders.empty() ? "" : folders.back().string());
    if (folder.empty()) return std::nullopt;
    std::string problem = problem_in(folder, readers.index, readers.count);
    if (readers.all(problem.empty())) return folder;
    // Another reader found it: reader 0, who speaks for all, looks for itself.
    if (readers.index == 0 && problem.empty()) problem = problem_in(folder, 0, 1);
    if (complaints != nullptr) complaints->push_back(problem);
    if (!folders.empty()) folders.pop_back();
  }
}

}  // namespace vmla::trainer
