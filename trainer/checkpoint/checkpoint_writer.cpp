#include "trainer/checkpoint/checkpoint_writer.h"

#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/checkpoint/save_checkpoint.h"

#include <chrono>

namespace vmla::trainer {
namespace {

constexpr std::chrono::milliseconds kLongestPause(200);

/// Adds the time until the end of the scope.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& seconds_;
  Clock::time_point start_ = Clock::now();
};

/// Finds a disk that takes no files before hours of training are to be saved on it. Each writer
/// looks for itself, for they may be on different machines.
void expect_writable(const std::filesystem::path& checkpoints, const io::SavePlace& place) {
  const auto probe = checkpoints / formatted(".saving-{}+probe-{}", place.attempt, place.writer);
  std::error_code problem;
  std::filesystem::create_directories(checkpoints, problem);
  if (!problem) std::filesystem::create_directory(probe, problem);
  if (problem)
    fail_user(
        "{}: checkpoints cannot be written here: {}; make it writable, or give another --run-dir",
        checkpoints.string(),
        problem.message());
  std::filesystem::remove(probe, problem);
}

}  // namespace

CheckpointWriter::CheckpointWriter(const std::filesystem::path& checkpoints,
                                   io::SavePlace place,
                                   Retention retention,
                                   std::function<bool(bool here)> everywhere)
    : checkpoints_(checkpoints),
      place_(std::move(place)),
      retention_(retention),
      everywhere_(std::move(everywhere)) {
  expect_writable(checkpoints_, place_);
  if (place_.writer == 0) io::remove_abandoned_saves(checkpoints_, place_.attempt);
}

CheckpointWriter::~CheckpointWriter() {
  if (!saved_.valid()) return;
  constexpr std::chrono::seconds kGrace(3);
  if (place_.writers > 1 && saved_.wait_for(kGrace) != std::future_status::ready) cancel();
  try {
    saved_.get();
  } catch (const io::SaveFailedElsewhere&) {  // the writer that knows why says so
  } catch (const std::exception& problem) {
    if (!cancelled_) log::warn(problem.what());
  }
}

void CheckpointWriter::begin(CheckpointShare share) {
  finish();
  const Stopwatch watch(waited_seconds_);
  copy_.mark(share.roles);
  std::promise<void> copied;
  copied_ = copied.get_future();
  begun_ = true;
  saved_ = std::async(
      std::launch::async,
      [this, share = std::move(share), place = place_, copied = std::move(copied)]() mutable {
        save(std::move(share), place, std::move(copied));
      });
  ++place_.serial;
}

/// Runs on the thread of the save. An error breaks the promise `copied`, which ends
/// before_update()'s wait as keeping it does.
void CheckpointWriter::save(CheckpointShare share,
                            const io::SavePlace& place,
                            std::promise<void> copied) {
  share.roles = copy_.copy(share.roles);
  copied.set_value();
  save_checkpoint(checkpoints_, share, place, &cancelled_);
  if (place.writer == 0) prune_checkpoints(checkpoints_, retention_);
}

void CheckpointWriter::before_update() {
  if (copied_.valid()) {
    const Stopwatch watch(waited_seconds_);
    copied_.wait();
    copied_ = {};
  }
  const bool over =
      saved_.valid() && saved_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  if (over) saved_.get();
}

void CheckpointWriter::finish() {
  if (!std::exchange(begun_, false)) return;
  const Stopwatch watch(waited_seconds_);
  copied_ = {};
  if (everywhere_) finish_everywhere();
  if (saved_.valid()) saved_.get();
}

/// Waits for all writers by asking them in collectives: files would not tell that one has died.
void CheckpointWriter::finish_everywhere() {
  for (std::chrono::milliseconds pause(2);; pause = std::min(2 * pause, kLongestPause)) {
    if (saved_.valid() && saved_.wait_for(pause) == std::future_status::ready) saved_.get();
    if (everywhere_(!saved_.valid())) return;
  }
}

double CheckpointWriter::take_waited_seconds() {
  return std::exchange(waited_seconds_, 0.0);
}

}  // namespace vmla::trainer
