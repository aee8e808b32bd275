#pragma once

#include <cstddef>
#include <functional>

#include "trainer/evaluation/rank_rounds.h"
#include "trainer/evaluation/video_sampler.h"

namespace vmla::trainer {

/// Hands the chunks of videos that several ranks sample at the same time to the lead.
class ChunkExchange {
 public:
  using Emit = std::function<void(const SampledChunk&)>;

  /// `prompts` in all, `batch` of them an item of the rounds; the last item may be smaller. `emit`
  /// is called on the lead alone, for each chunk of each prompt.
  ChunkExchange(const distributed::Mesh& mesh, size_t prompts, size_t batch, const Emit& emit);

  void begin(const RankRound& round) { round_ = round; }
  /// The next chunk of this rank's item: prompt after prompt, chunk after chunk. Collective.
  void take(const SampledChunk& chunk);

 private:
  size_t size_of(int64_t item) const;
  void exchange(const SampledChunk& chunk, size_t place);

  const distributed::Mesh& mesh_;
  size_t prompts_, batch_;
  const Emit& emit_;
  RankRound round_{};
};

}  // namespace vmla::trainer
