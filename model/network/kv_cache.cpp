#include "model/network/kv_cache.h"

#include "model/network/attention_plan.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>

namespace vmla::model {
namespace {

std::vector<int64_t> sizes_with_rows(const at::Tensor& part, int64_t rows) {
  auto sizes = part.sizes().vec();
  sizes[1] = rows;
  return sizes;
}

/// Whether ascending slots follow each other without a gap.
bool are_consecutive(const std::vector<int64_t>& slots) {
  return slots.empty() || slots.back() - slots.front() + 1 == static_cast<int64_t>(slots.size());
}

/// The rows of `slots` in a storage: a view when the slots are consecutive, else a copy.
at::Tensor gather_slots(const at::Tensor& storage,
                        const std::vector<int64_t>& slots,
                        int64_t tokens) {
  std::vector<at::Tensor> runs;
  for (size_t begin = 0; begin < slots.size();) {
    size_t end = begin + 1;
    while (end < slots.size() && slots[end] == slots[end - 1] + 1) ++end;
    runs.push_back(
        storage.narrow(1, slots[begin] * tokens, static_cast<int64_t>(end - begin) * tokens));
    begin = end;
  }
  return runs.size() == 1 ? runs[0] : at::cat(runs, 1);
}

/// Rows in eight bits (docs/algorithms.md 6.2). The factor is stored in bf16, so that a row's
/// largest number may come out beyond 127 and is cut off there, by less than half a step.
LayerKv in_eight_bits(const LayerKv& kv) {
  constexpr double kLargest = 127, kLeast = 1e-30;  // a row of zeros is divided by something
  const at::Tensor content = kv.content.to(at::kFloat);
  const at::Tensor scale = content.abs().amax(-1, /*keepdim=*/true).div(kLargest).clamp_min(kLeast);
  const at::Tensor stored = scale.to(at::kBFloat16);
  const at::Tensor steps = content.div(stored.to(at::kFloat)).round().clamp(-kLargest, kLargest);
  return {steps.to(at::kChar), kv.key, stored};
}

/// Each of a layer's tensors that is there.
template <class Kv, class Work>
void for_parts(Kv& kv, const Work& work) {
  work(kv.content);
  work(kv.key);
  if (kv.scale.defined()) work(kv.scale);
}

std::vector<LayerKv> narrow_rows(std::vector<LayerKv> layers, int64_t begin, int64_t count) {
  for (LayerKv& layer : layers)
    for_parts(layer, [&](at::Tensor& part) { part = part.narrow(1, begin, count); });
  return layers;
}

/// Of contents, keys and scales each those of all layers and samples: a GPU copies a list of dense
/// tensors of one dtype by one kernel.
using Parts = std::array<std::vector<at::Tensor>, 3>;

Parts parts_of(const std::vector<LayerKv>& layers) {
  Parts parts;
  for (const LayerKv& layer : layers) {
    size_t index = 0;
    for_parts(layer, [&](const at::Tensor& part) {
      for (const at::Tensor& sample : part.unbind(0)) parts[index].push_back(sample);
      ++index;
    });
  }
  return parts;
}

}  // namespace

void copy_kv(const std::vector<LayerKv>& to, const std::vector<LayerKv>& from) {
  const Parts places = parts_of(to), values = parts_of(from);
  for (size_t part = 0; part < places.size(); ++part)
    if (!places[part].empty()) at::_foreach_copy_(places[part], values[part]);
}

int64_t cache_slots(const ModelConfig& config, CacheKind kind, int64_t max_frames) {
  if (kind == CacheKind::kAppendOnly || config.local_attn_size < 0) return max_frames;
  return std::min(max_frames, config.local_attn_size - config.num_frame_per_block);
}

int64_t cached_numbers(const ModelConfig& config) {
  int64_t numbers = 0;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerDims d = layer_dims(config, layer);
    numbers += config.is_mla() ? d.kv_rank + d.rope : 2 * config.dim;
  }
  return numbers;
}

int64_t cached_bytes(const ModelConfig& config, KvCacheDtype dtype, int64_t element) {
  if (dtype == KvCacheDtype::kAuto) return cached_numbers(config) * element;
  constexpr int64_t kScale = 2;  // bf16
  int64_t bytes = 0;
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const LayerDims d = layer_dims(config, layer);
    bytes += d.kv_rank + kScale + d.rope * element;
  }
  return bytes;
}

KvCache::KvCache(const ModelConfig& config,
                 CacheKind kind,
                 int64_t tokens_per_frame,
                 int64_t max_frames,
                 KvCacheDtype dtype)
    : config_(config),
      kind_(kind),
      dtype_(dtype),
      tokens_per_frame_(tokens_per_frame),
      capacity_(cache_slots(config, kind, max_frames)),
      slot_frame_(static_cast<size_t>(std::max<int64_t>(capacity_, 0)), -1) {
  TORCH_CHECK(dtype == KvCacheDtype::kAuto || config.is_mla(),
              "a cache in eight bits is for latent attention");
}

// Sink frames have slots of their own; later frames go round the ring of slots behind them. -1: the
// ring has no slots.
int64_t KvCache::slot_of(int64_t frame) const {
  const int64_t sink = config_.local_attn_size < 0 ? 0 : config_.sink_size;
  if (kind_ == CacheKind::kAppendOnly || config_.local_attn_size < 0 || frame < sink) return frame;
  const int64_t ring = capacity_ - sink;
  return ring > 0 ? sink + (frame - sink) % ring : -1;
}

KvWindow KvCache::window(int64_t first_frame, int64_t count) const {
  TORCH_CHECK(first_frame <= frames_seen_,
              "cache window before its frames were appended: ",
              first_frame,
              " of ",
              frames_seen_);
  std::vector<int64_t> slots;
  for (int64_t frame : attended_context(config_, first_frame, count)) {
    if (frame >= config_.sink_size && frame < flushed_until_) continue;
    const int64_t slot = slot_of(frame);
    TORCH_CHECK(slot >= 0 && slot_frame_[static_cast<size_t>(slot)] == frame,
                "frame is no longer cached: ",
                frame);
    slots.push_back(slot);
  }
  // Attention does not depend on the order of keys; consecutive slots need no copy.
  std::sort(slots.begin(), slots.end());
  KvWindow result;
  for (int64_t slot : slots) result.frames.push_back(slot_frame_[static_cast<size_t>(slot)]);
  result.in_place = are_consecutive(slots);
  if (slots.empty()) return result;
  for (const LayerKv& layer : storage_) {
    LayerKv& rows = result.layers.emplace_back(layer);
    for_parts(rows, [&](at::Tensor& part) { part = gather_slots(part, slots, tokens_per_frame_); });
  }
  return result;
}

std::vector<LayerKv> KvCache::as_stored(std::vector<LayerKv> kv) const {
  if (dtype_ == KvCacheDtype::kInt8) {
    for (LayerKv& layer : kv)
      if (!layer.scale.defined()) layer = in_eight_bits(layer);
  }
  return kv;
}

std::vector<LayerKv> KvCache::empty_rows(int64_t count) const {
  std::vector<LayerKv> rows = storage_;
  for (LayerKv& layer : rows) {
    for_parts(layer, [&](at::Tensor& part) {
      part = at::empty(sizes_with_rows(part, count * tokens_per_frame_), part.options());
    });
  }
  return rows;
}

void KvCache::append(const std::vector<LayerKv>& kv, int64_t first_frame, int64_t count) {
  TORCH_CHECK(first_frame <= frames_seen_,
              "frames appended out of order: ",
              first_frame,
              " after ",
              frames_seen_);
  const at::NoGradGuard no_grad;
  const std::vector<LayerKv> rows = as_stored(kv);
  if (storage_.empty()) {
    storage_ = rows;
    for (LayerKv& layer : storage_) {
      for_parts(layer, [&](at::Tensor& part) {
        part = at::zeros(sizes_with_rows(part, capacity_ * tokens_per_frame_), part.options());
      });
    }
  }
  put(rows, first_frame, count);
  for (int64_t frame = first_frame; frame < first_frame + count; ++frame) {
    const int64_t slot = slot_of(frame);
    if (slot >= 0) slot_frame_[static_cast<size_t>(slot)] = frame;
  }
  frames_seen_ = std::max(frames_seen_, first_frame + count);
}

/// Copies all layers' rows into the slots of their frames, neighbours at once.
void KvCache::put(const std::vector<LayerKv>& rows, int64_t first_frame, int64_t count) {
  for (int64_t i = 0; i < count;) {
    const int64_t slot = slot_of(first_frame + i);
    int64_t run = 1;
    while (i + run < count && slot_of(first_frame + i + run) == slot + run) ++run;
    // -1: the window has room for the sink and the own chunk only.
    if (slot >= 0) {
      TORCH_CHECK(slot + run <= capacity_,
                  "cache is full: frame ",
                  first_frame + i + run - 1,
                  " of ",
                  capacity_);
      const auto rows_of = [&](const std::vector<LayerKv>& layers, int64_t frame) {
        return narrow_rows(layers, frame * tokens_per_frame_, run * tokens_per_frame_);
      };
      copy_kv(rows_of(storage_, slot), rows_of(rows, i));
    }
    i += run;
  }
}

void KvCache::flush(int64_t recent) {
  TORCH_CHECK(kind_ == CacheKind::kStreaming, "only a streaming cache can be flushed");
  flushed_until_ = std::max(flushed_until_, frames_seen_ - recent);
}

void KvCache::restart() {
  frames_seen_ = 0;
  flushed_until_ = 0;
  std::ranges::fill(slot_frame_, -1);
}

void KvCache::erase() {
  const at::NoGradGuard no_grad;
  for (LayerKv& layer : storage_) for_parts(layer, [](at::Tensor& part) { part.zero_(); });
}

int64_t KvCache::bytes() const {
  int64_t total = 0;
  for (const LayerKv& layer : storage_) {
    for_parts(layer, [&](const at::Tensor& part) { total += static_cast<int64_t>(part.nbytes()); });
  }
  return total;
}

}  // namespace vmla::model
