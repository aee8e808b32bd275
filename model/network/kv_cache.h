#pragma once

#include "model/config/kv_cache_dtype.h"
#include "model/network/self_attention.h"

#include <cstdint>
#include <vector>

namespace vmla::model {

/// Keys and values of the frames before a chunk: for MLA one latent and one unrotated rope key a
/// token.
///
/// kStreaming keeps the frames that later chunks can still see, which are the sink and the last
/// (window - sink - chunk) frames, in slots at fixed addresses: memory does not grow with the
/// video. kAppendOnly keeps every frame, so that the window of any chunk can be asked for again
/// after the rollout: training replays chunks.
enum class CacheKind { kStreaming, kAppendOnly };

/// What one chunk sees before itself: keys and values of each layer, and the absolute frame that
/// each tokens_per_frame rows of them belong to. The frames are in the order of the slots.
struct KvWindow {
  std::vector<LayerKv> layers;
  std::vector<int64_t> frames;
  /// The tensors are views of the cache, as they are where the frames' slots are consecutive; else
  /// they are copies.
  bool in_place = true;
};

/// Copies keys and values to others of the same sizes, all layers' at once.
void copy_kv(const std::vector<LayerKv>& to, const std::vector<LayerKv>& from);

/// How many frames a cache has slots for when `max_frames` are generated.
int64_t cache_slots(const ModelConfig& config, CacheKind kind, int64_t max_frames);

/// How many numbers all layers together keep of a token: R + P a layer, or 2 D when dense
/// (docs/algorithms.md 15.3).
int64_t cached_numbers(const ModelConfig& config);

/// Bytes that all layers together keep of a token, where numbers are computed in `element` bytes.
int64_t cached_bytes(const ModelConfig& config, KvCacheDtype dtype, int64_t element);

/// A rollout's cache: a chunk asks for its window, is computed, and its keys and values are
/// appended.
class KvCache {
 public:
  /// `max_frames` is the capacity of an append-only cache, and of a streaming one without a window.
  /// `dtype`: int8 is for latent attention.
  KvCache(const ModelConfig& config,
          CacheKind kind,
          int64_t tokens_per_frame,
          int64_t max_frames,
          KvCacheDtype dtype = KvCacheDtype::kAuto);

  /// The context of the chunk [first_frame, first_frame + count); all frames before it must have
  /// been appended. Views (KvWindow::in_place) change with the next append of a streaming cache.
  KvWindow window(int64_t first_frame, int64_t count) const;

  /// Keys and values, one entry a layer, in the dtypes in which the cache keeps them.
  std::vector<LayerKv> as_stored(std::vector<LayerKv> kv) const;

  /// Room for the stored keys and values of so many frames. To be asked for after an append.
  std::vector<LayerKv> empty_rows(int64_t count) const;

  /// Copies the chunk's keys and values into the cache: one entry a layer, [B, count * tokens,
  /// ...], as_stored() or not yet. Chunks come in order; a chunk that was appended before may be
  /// overwritten.
  void append(const std::vector<LayerKv>& kv, int64_t first_frame, int64_t count);

  /// Forgets all frames but the sink and the `recent` last ones, in a streaming cache. Later chunks
  /// attend to what is left, at positions that close the gap (docs/algorithms.md 6.4).
  void flush(int64_t recent);

  /// Forgets all frames, for another video, which is kept at the same addresses.
  void restart();

  /// Sets all stored keys and values to zero: shows what the network does without its memory.
  void erase();

  int64_t bytes() const;
  int64_t frames_seen() const { return frames_seen_; }

 private:
  int64_t slot_of(int64_t frame) const;
  void put(const std::vector<LayerKv>& rows, int64_t first_frame, int64_t count);

  ModelConfig config_;
  CacheKind kind_;
  KvCacheDtype dtype_;
  int64_t tokens_per_frame_;
  int64_t capacity_;  // slots, in frames
  int64_t frames_seen_ = 0;
  int64_t flushed_until_ = 0;        // frames from the sink's end up to here are forgotten
  std::vector<LayerKv> storage_;     // [B, capacity * tokens, ...], allocated by the first append
  std::vector<int64_t> slot_frame_;  // absolute frame in each slot, -1: empty
};

}  // namespace vmla::model
