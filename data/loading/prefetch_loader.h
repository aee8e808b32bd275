#pragma once

#include <memory>

#include "data/loading/batch.h"
#include "data/loading/shard_sampler.h"
#include "data/store/latent_dataset.h"

namespace vmla::data {

struct LoaderOptions {
  int64_t global_batch = 1;  // samples of a step, all shards together
  int64_t micro_batch = 1;   // samples of a Batch; divides the shard's part of the global batch
  int64_t threads = 1;
  /// The loader holds no more than this many batches, those that are being read included.
  int64_t prefetch_batches = 2;
  /// The sample to start at, counted over all steps and shards: the data position of a checkpoint,
  /// a multiple of global_batch.
  int64_t position = 0;
};

/// Reads batches ahead on threads of its own. The batches and their order depend on (dataset,
/// sampler, options) alone, not on the threads. The dataset and the sampler must outlive it. next()
/// is for one thread.
class PrefetchLoader {
 public:
  PrefetchLoader(const LatentDataset& dataset,
                 const ShardSampler& sampler,
                 const LoaderOptions& options);
  /// Stops the threads; batches not fetched are dropped.
  ~PrefetchLoader();
  PrefetchLoader(const PrefetchLoader&) = delete;
  PrefetchLoader& operator=(const PrefetchLoader&) = delete;

  /// The next micro-batch; epochs never end. Rethrows what went wrong while reading it.
  Batch next();
  /// The sample at which the next step starts, once all micro-batches of the current one were
  /// fetched: what a checkpoint saves as the data position between two steps.
  int64_t position() const;
  /// Seconds next() has spent waiting, all calls together.
  double wait_seconds() const;
  /// The most batches ever held at once.
  int64_t most_held() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace vmla::data
