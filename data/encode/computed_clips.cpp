#include "data/encode/computed_clips.h"

#include <algorithm>
#include <chrono>

#include "data/encode/job_progress.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"

namespace vmla::data {

ComputedClips compute_clips(EncodeParts& parts, const ClipPlan& plan, const ComputeBatch& compute) {
  ComputedClips done{.clips = plan.clips, .resumed = parts.end_video()};
  if (done.resumed > 0) {
    log::info("going on with an unfinished job: {} of {} clips are done", done.resumed, plan.clips);
  }
  const auto begin = std::chrono::steady_clock::now();
  JobProgress progress(plan.label, "clips", static_cast<long>(plan.clips));
  progress.update(static_cast<long>(done.resumed));
  io::GracefulStop stop([&] { return commit_at_stop(parts, plan.clips, "clip"); });
  // Batches begin where they would have begun without a kill, even if some of their clips are
  // stored already: the size of a batch may show in the last bits of its clips.
  for (int64_t first = done.resumed / plan.batch * plan.batch; first < plan.clips;
       first += plan.batch) {
    const int64_t count = std::min(plan.batch, plan.clips - first);
    const auto store = compute(first, count);
    for (int64_t b = std::max<int64_t>(0, done.resumed - first); b < count; ++b) {
      parts.add_video(store(b));
    }
    progress.update(static_cast<long>(parts.end_video()));
    stop.check();
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  done.seconds_per_clip =
      taken.count() / static_cast<double>(std::max<int64_t>(1, plan.clips - done.resumed));
  parts.merge();
  return done;
}

}  // namespace vmla::data
