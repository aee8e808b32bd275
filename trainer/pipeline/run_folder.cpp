#include "trainer/pipeline/run_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "trainer/config/config_difference.h"
#include "trainer/config/config_yaml.h"

namespace vmla::trainer {
namespace {

namespace fs = std::filesystem;

constexpr char kLockName[] = "run.lock";
constexpr char kStageMark[] = "config.yaml";

/// The file by which the folder of a kind is known, and whose run folder it is.
struct KindOfFolder {
  RunFolder::Kind kind;
  const char* mark;
  const char* text;
};
constexpr KindOfFolder kKinds[] = {
    {RunFolder::Kind::kStage, kStageMark, "a single stage"},
    {RunFolder::Kind::kPipeline, "pipeline.yaml", "a pipeline"},
    {RunFolder::Kind::kSweep, "sweep.yaml", "a sweep"},
};

const char* mark_of(RunFolder::Kind kind) {
  return std::ranges::find(kKinds, kind, &KindOfFolder::kind)->mark;
}

/// Creates the folder, and fails on one that holds something else: to be called before the lock
/// file is made in it. `made`: whether there was none.
fs::path checked(fs::path folder, RunFolder::Kind kind, bool& made) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder, error)) {
    fail_user("{}: is a file; --run-dir must be a folder", folder.string());
  }
  made = fs::create_directories(folder, error);
  if (error) fail_user("{}: cannot create the run folder: {}", folder.string(), error.message());
  bool known = fs::exists(folder / kLockName);
  for (const KindOfFolder& other : kKinds) {
    if (!fs::exists(folder / other.mark)) continue;
    known = true;
    if (other.kind == kind) continue;
    fail_user("{}: is the run folder of {}; {}",
              folder.string(),
              other.text,
              kind == RunFolder::Kind::kStage ? "give one of its stages' folders, or a new one"
                                              : "give a new --run-dir");
  }
  if (known) return folder;
  std::error_code problem;
  const fs::directory_iterator first(folder, problem);
  if (problem) fail_user("{}: cannot be read: {}", folder.string(), problem.message());
  if (first != fs::directory_iterator()) {
    fail_user("{}: holds {} and is no run folder; choose an empty or new --run-dir",
              folder.string(),
              first->path().filename().string());
  }
  return folder;
}

}  // namespace

RunFolder::RunFolder(fs::path folder, Kind kind)
    : kind_(kind),
      path_(checked(std::move(folder), kind, made_)),
      handle_(open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
      lock_(io::FileLock::try_now(path_ / kLockName)) {
  if (!lock_) {
    fail_user("{}: in use by {}; wait for it, stop it, or choose another folder",
              path_.string(),
              io::FileLock::holder(path_ / kLockName));
  }
}

RunFolder::~RunFolder() {
  lock_.reset();
  std::error_code error;  // a folder that holds something stays
  if (made_ && is_in_place()) fs::remove(path_, error);
  if (handle_ >= 0) close(handle_);
}

bool RunFolder::is_in_place() const {
  struct stat opened{}, there{};
  // The handle keeps the system from giving the folder's number to a new one.
  return fstat(handle_, &opened) == 0 && stat(path_.c_str(), &there) == 0 &&
         opened.st_ino == there.st_ino && opened.st_dev == there.st_dev;
}

void RunFolder::expect_in_place() const {
  const bool same = is_in_place();
  const bool whole = mark_.empty() || fs::exists(fs::symlink_status(path_ / mark_));
  if (same && whole) return;
  fail_run("{}: {} while the run was going on; what it has written is gone, and the run ends here",
           path_.string(),
           same ? formatted("{} was removed from the run folder", mark_)
                : "the run folder was removed, moved or replaced");
}

void RunFolder::begin_group(const std::string& text) {
  io::write_file_atomically(path_ / mark_of(kind_), text);
  mark_ = mark_of(kind_);
}

void RunFolder::begin(const TrainConfig& config) {
  io::write_file_atomically(path_ / kStageMark, resolved_yaml(config));
  mark_ = kStageMark;
  std::error_code error;
  fs::remove(path_ / "summary.json", error);
  if (error) fail_run("{}: cannot remove: {}", (path_ / "summary.json").string(), error.message());
}

std::string holder_of(const fs::path& folder) {
  const fs::path lock = folder / kLockName;
  std::error_code none;
  // What is no lock file is refused by the run itself, which can say so.
  if (!fs::is_regular_file(fs::symlink_status(lock, none))) return "";
  try {
    return io::FileLock::try_now(lock) ? "" : io::FileLock::holder(lock);
  } catch (const UserError&) {
    return "";
  }
}

bool changes_result(const std::string& key) {
  static const std::vector<std::string> kHarmless = {"train.threads",
                                                     "train.log_every",
                                                     "data.loader_threads",
                                                     "data.prefetch_batches",
                                                     "data.allow_other_data",
                                                     "init.allow_other_source",
                                                     "model.preset"};
  return std::find(kHarmless.begin(), kHarmless.end(), key) == kHarmless.end();
}

bool is_finished(const fs::path& folder, const TrainConfig& config) {
  if (!fs::exists(folder / "summary.json") || !fs::exists(folder / kStageMark)) return false;
  const TrainConfig saved =
      parse_resolved(io::read_text_file(folder / kStageMark), (folder / kStageMark).string());
  const auto differences = config_difference(saved, config);
  return std::none_of(
      differences.begin(), differences.end(), [](const auto& d) { return changes_result(d.key); });
}

}  // namespace vmla::trainer
