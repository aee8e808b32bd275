#include "data/loading/prefetch_loader.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

namespace vmla::data {

struct PrefetchLoader::State {
  State(const LatentDataset& dataset_in,
        const ShardSampler& sampler_in,
        const LoaderOptions& options_in)
      : dataset(dataset_in), sampler(sampler_in), options(options_in) {}

  /// What reading a micro-batch gave: the batch, or what was thrown.
  struct Slot {
    Batch batch;
    std::exception_ptr failure;
  };

  const LatentDataset& dataset;
  const ShardSampler& sampler;
  const LoaderOptions options;
  int64_t micro_batches = 1;  // of a step, on this shard

  // Micro-batches are numbered from 0 at options.position. fetched <= claimed always, and those
  // between them are being read, or ready, or waited for.
  std::mutex mutex;  // of everything below
  std::condition_variable changed;
  std::map<int64_t, Slot> ready;  // by number
  int64_t claimed = 0;            // numbers below it are read or being read
  int64_t fetched = 0;            // numbers below it were handed out
  int64_t most_held = 0;
  double wait_seconds = 0;
  bool stopping = false;
  std::vector<std::thread> threads;

  /// Without the mutex.
  Batch read(int64_t number) const {
    const int64_t step_position = options.position + number / micro_batches * options.global_batch;
    const int64_t first = sampler.shard_first(step_position, options.global_batch) +
                          number % micro_batches * options.micro_batch;
    return read_batch(dataset, sampler.indices(first, options.micro_batch), first);
  }

  /// What each thread runs.
  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return stopping || claimed - fetched < options.prefetch_batches; });
      if (stopping) return;
      const int64_t number = claimed++;
      most_held = std::max(most_held, claimed - fetched);
      lock.unlock();
      Slot slot;
      try {
        slot.batch = read(number);
      } catch (...) {
        slot.failure = std::current_exception();
      }
      lock.lock();
      ready.emplace(number, std::move(slot));
      changed.notify_all();
    }
  }
};

PrefetchLoader::PrefetchLoader(const LatentDataset& dataset,
                               const ShardSampler& sampler,
                               const LoaderOptions& options)
    : state_(std::make_unique<State>(dataset, sampler, options)) {
  TORCH_CHECK(sampler.dataset_size() == dataset.size(),
              "the sampler orders ",
              sampler.dataset_size(),
              " clips, the dataset has ",
              dataset.size());
  const int64_t part = sampler.shard_batch(options.global_batch);  // samples of a step here
  TORCH_CHECK(options.micro_batch > 0 && part % options.micro_batch == 0,
              "micro-batches of ",
              options.micro_batch,
              " do not divide a shard's batch of ",
              part);
  TORCH_CHECK(options.threads > 0 && options.prefetch_batches > 0,
              "a loader needs threads and room for batches, got ",
              options.threads,
              " and ",
              options.prefetch_batches);
  state_->micro_batches = part / options.micro_batch;
  for (int64_t i = 0; i < options.threads; ++i) {
    state_->threads.emplace_back([state = state_.get()] { state->work(); });
  }
}

PrefetchLoader::~PrefetchLoader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
  }
  for (std::thread& thread : state_->threads) thread.join();
}

Batch PrefetchLoader::next() {
  const auto begin = std::chrono::steady_clock::now();
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->ready.contains(state_->fetched); });
  state_->wait_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  State::Slot slot = std::move(state_->ready.extract(state_->fetched).mapped());
  ++state_->fetched;
  state_->changed.notify_all();
  if (slot.failure) std::rethrow_exception(slot.failure);
  return std::move(slot.batch);
}

int64_t PrefetchLoader::position() const {
  const std::lock_guard lock(state_->mutex);
  const int64_t steps = (state_->fetched + state_->micro_batches - 1) / state_->micro_batches;
  return state_->options.position + steps * state_->options.global_batch;
}

double PrefetchLoader::wait_seconds() const {
  const std::lock_guard lock(state_->mutex);
  return state_->wait_seconds;
}

int64_t PrefetchLoader::most_held() const {
  const std::lock_guard lock(state_->mutex);
  return state_->most_held;
}

}  // namespace vmla::data
