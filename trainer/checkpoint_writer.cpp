#include "trainer/checkpoint_writer.h"

#include "model/io/error.h"
#include "model/io/log.h"

#include <chrono>

namespace vmla::trainer {
namespace {

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

}  // namespace

CheckpointWriter::CheckpointWriter(const std::filesystem::path& checkpoints,
                                   io::SavePlace place,
                                   Retention retention)
    : checkpoints_(checkpoints), place_(std::move(place)), retention_(retention) {
  if (place_.writer == 0) io::remove_abandoned_saves(checkpoints_, place_.attempt);
}

CheckpointWriter::~CheckpointWriter() {
  if (!saved_.valid()) return;
  constexpr std::chrono::seconds kGrace(3);
  if (place_.writers > 1 && saved_.wait_for(kGrace) != std::future_status::ready) cancel();
  try {
    saved_.get();
  } catch (const io::SaveFailedElsewhere&) {  // said by the one that knows
  } catch (const std::exception& problem) {
    log::warn(problem.what());
  }
}

void CheckpointWriter::begin(CheckpointShare share) {
  finish();
  const Stopwatch watch(waited_seconds_);
  copy_.mark(share.roles);
  std::promise<void> copied;
  copied_ = copied.get_future();
  saved_ = std::async(
      std::launch::async,
      [this, share = std::move(share), place = place_, copied = std::move(copied)]() mutable {
        save(std::move(share), place, std::move(copied));
      });
  ++place_.serial;
}

/// The writer's thread. When it is over `copied` is kept or broken: either ends before_update()'s
/// wait.
void CheckpointWriter::save(CheckpointShare share,
                            const io::SavePlace& place,
                            std::promise<void> copied) {
  share.roles = copy_.copy(share.roles);
  copied.set_value();
  save_checkpoint(checkpoints_, share, place, &cancelled_);
  if (place.writer == 0)
    prune_checkpoints(checkpoints_, retention_.keep_last, retention_.keep_every);
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
  if (!saved_.valid()) return;
  const Stopwatch watch(waited_seconds_);
  copied_ = {};
  saved_.get();
}

double CheckpointWriter::take_waited_seconds() {
  return std::exchange(waited_seconds_, 0.0);
}

}  // namespace vmla::trainer
