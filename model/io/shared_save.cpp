#include "model/io/shared_save.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "model/io/atomic_file.h"
#include "model/io/fault_hook.h"
#include "model/io/file_writer.h"

namespace vmla::io {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kWriting = "writing";
constexpr const char* kDone = "done";
constexpr const char* kFailed = "failed";

/// The names in a folder. The folder is listed, rather than asked for one name: a network file
/// system may remember that a name does not exist and so hide a file that another machine has just
/// made.
std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  std::error_code problem;
  for (fs::directory_iterator entry(folder, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    names.insert(entry->path().filename().string());
  }
  return names;
}

/// Pauses between two looks at the folder: 2 ms at first, doubling up to 200 ms.
class Waiting {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  void pause() {
    std::this_thread::sleep_for(pause_);
    pause_ = std::min(2 * pause_, std::chrono::milliseconds(200));
  }

 private:
  Clock::time_point start_ = Clock::now();
  std::chrono::milliseconds pause_{2};
};

void write_text(const fs::path& path, const std::string& text) {
  FileWriter file(path);
  file.write(text.data(), text.size());
  file.close();
}

/// The reason that a writer left in its file.
std::string problem_in(const fs::path& failed, int64_t writer) {
  try {
    if (const std::string said = read_text_file(failed); !said.empty()) return said;
  } catch (const UserError&) {  // unreadable: as if it were empty
  }
  return formatted("writer {} failed, and could not say why", writer);
}

void create_folder(const fs::path& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (problem) fail_io("create", folder, problem.value());
}

}  // namespace

SharedSave::SharedSave(const fs::path& checkpoints,
                       const std::string& name,
                       const SavePlace& place,
                       const std::atomic<bool>* cancelled)
    : checkpoints_(checkpoints),
      shared_(checkpoints / formatted("{}{}+{}", kSharedSavePrefix, place.attempt, place.serial)),
      payload_(shared_ / name),
      name_(name),
      place_(place),
      cancelled_(cancelled) {}

bool SharedSave::failed() const {
  std::error_code ignored;
  return fs::exists(part(0, kFailed), ignored);
}

void SharedSave::enter() {
  create_folder(payload_);
  // The name is known beforehand; a link there would lead the checkpoint out of the run's folder.
  for (const fs::path& folder : {shared_, payload_}) {
    if (fs::is_symlink(fs::symlink_status(folder))) fail_io("write into", folder, ELOOP);
  }
  if (failed()) throw SaveFailedElsewhere(problem_in(part(0, kFailed), 0));
  write_text(part(place_.writer, kWriting), "");
}

fs::path SharedSave::part(int64_t writer, const char* state) const {
  return shared_ / formatted("part-{:05}.{}", writer, state);
}

void SharedSave::leave_part(const CheckpointPart& written) {
  write_text(part(place_.writer, kWriting), part_text(written));
  rename_path(part(place_.writer, kWriting), part(place_.writer, kDone));
}

void SharedSave::fail(const std::string& problem) noexcept {
  const fs::path writing = part(place_.writer, kWriting);
  try {
    write_text(writing, problem);
  } catch (const std::exception&) {  // a full disk: the file's name alone says that it failed
  }
  std::error_code ignored;
  try {
    const fs::path done = part(place_.writer, kDone);
    const bool has_left = !fs::exists(writing);
    if (has_left) fs::resize_file(done, 0, ignored);
    rename_path(has_left ? done : writing, part(place_.writer, kFailed));
  } catch (const std::exception&) {
  }
  if (place_.writer == 0) fs::remove_all(payload_, ignored);
}

void SharedSave::expect_alive(double waited_seconds,
                              double limit,
                              const std::string& missing) const {
  if (cancelled_ != nullptr && cancelled_->load()) {
    throw SaveFailedElsewhere(
        formatted("{} was not saved: given up while waiting for {}", name_, missing));
  }
  if (waited_seconds > limit) {
    fail_run(
        "{} was not saved: {} did not finish within {:g} s; the checkpoints before it in {} are "
        "intact",
        name_,
        missing,
        limit,
        checkpoints_.string());
  }
}

std::vector<CheckpointPart> SharedSave::collect_parts() const {
  for (Waiting waiting;; waiting.pause()) {
    const std::set<std::string> names = names_in(shared_);
    std::string missing;
    int64_t count = 0;
    for (int64_t writer = 0; writer < place_.writers; ++writer) {
      if (const fs::path failed = part(writer, kFailed); names.contains(failed.filename())) {
        throw SaveFailedElsewhere(formatted(
            "{} was not saved: writer {} says: {}", name_, writer, problem_in(failed, writer)));
      }
      if (names.contains(part(writer, kDone).filename())) continue;
      constexpr int64_t kNamed = 8;
      if (++count <= kNamed) missing += formatted("{}{}", count == 1 ? "" : ", ", writer);
      if (count == kNamed + 1) missing += ", ...";
    }
    if (count == 0) break;
    expect_alive(waiting.seconds(),
                 place_.timeout_seconds,
                 count == 1 ? formatted("writer {}", missing) : formatted("writers {}", missing));
  }
  std::vector<CheckpointPart> parts;
  for (int64_t writer = 0; writer < place_.writers; ++writer) {
    const fs::path file = part(writer, kDone);
    parts.push_back(parse_part(read_text_file(file), file.string()));
  }
  return parts;
}

void SharedSave::commit() {
  flush_to_disk(payload_);
  move_folder_into_place(payload_, checkpoints_ / name_);
  publish_symlink(checkpoints_ / "latest", name_);
  std::error_code problem;
  fs::remove_all(shared_, problem);
  if (problem) fail_io("remove", shared_, problem.value());
}

void SharedSave::wait_for_commit() const {
  // Writer 0 may itself wait for the slowest writer as long as this, from a later start.
  const double limit = 2 * place_.timeout_seconds;
  const fs::path failed = part(0, kFailed);
  for (Waiting waiting;; waiting.pause()) {
    const std::set<std::string> names = names_in(shared_);
    if (names.contains(failed.filename())) {
      throw SaveFailedElsewhere(problem_in(failed, 0));
    }
    if (names.empty() && !fs::exists(shared_)) return;
    expect_alive(waiting.seconds(), limit, "writer 0");
  }
}

void remove_abandoned_saves(const fs::path& checkpoints, const std::string& attempt) {
  for (const std::string& name : names_in(checkpoints)) {
    const bool own =
        !attempt.empty() && name.starts_with(formatted("{}{}+", kSharedSavePrefix, attempt));
    if (!name.starts_with(kSharedSavePrefix) || own) continue;
    std::error_code ignored;
    fs::remove_all(checkpoints / name, ignored);
  }
}

}  // namespace vmla::io
