#include "data/encode/computed_clips.h"

#include <algorithm>
#include <chrono>

#include "model/io/error.h"
#include "model/io/log.h"

namespace vmla::data {

ComputedClips compute_clips(EncodeParts& parts,
                            int64_t clips,
                            int64_t batch,
                            const char* label,
                            const ComputeBatch& compute) {
  ComputedClips done{.clips = clips, .resumed = parts.end_video()};
  if (done.resumed > 0) {
    log::info("going on with an unfinished job: {} of {} clips are done", done.resumed, clips);
  }
  const auto begin = std::chrono::steady_clock::now();
  log::ProgressBar progress(label, static_cast<long>(clips));
  // Batches begin where they would without a kill: a batch's size may show in the last bits.
  for (int64_t first = done.resumed / batch * batch; first < clips; first += batch) {
    const int64_t count = std::min(batch, clips - first);
    const auto store = compute(first, count);
    for (int64_t b = std::max<int64_t>(0, done.resumed - first); b < count; ++b) {
      parts.add(store(b));
      parts.end_of_video(std::nullopt);
    }
    progress.update(static_cast<long>(parts.end_video()));
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  done.seconds_per_clip =
      taken.count() / static_cast<double>(std::max<int64_t>(1, clips - done.resumed));
  parts.merge();
  return done;
}

}  // namespace vmla::data
