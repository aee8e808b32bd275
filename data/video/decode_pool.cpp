#include "data/video/decode_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace vmla::data {

DecodePool::DecodePool(std::vector<std::filesystem::path> videos,
                       const ReadOptions& options,
                       const ClipCut& cut,
                       int64_t threads,
                       const std::filesystem::path& program)
    : videos_(std::move(videos)) {
  const size_t lanes =
      std::clamp<size_t>(static_cast<size_t>(threads), 1, std::max<size_t>(videos_.size(), 1));
  for (size_t i = 0; i < lanes; ++i) lanes_.push_back(std::make_unique<Lane>());
  for (size_t i = 0; i < lanes; ++i) {
    lanes_[i]->thread = std::thread([=, this] { decode_lane(i, options, cut, program); });
  }
}

DecodePool::~DecodePool() {
  for (const auto& lane : lanes_) {
    const std::lock_guard lock(lane->mutex);
    lane->stopping = true;
    lane->changed.notify_all();
  }
  for (const auto& lane : lanes_) lane->thread.join();
}

bool DecodePool::put(Lane& lane, DecodedClip clip) {
  std::unique_lock lock(lane.mutex);
  lane.changed.wait(lock, [&] { return lane.stopping || lane.clips.size() < kClipsAhead; });
  if (lane.stopping) return false;
  lane.clips.push_back(std::move(clip));
  lane.changed.notify_all();
  return true;
}

void DecodePool::decode_lane(size_t index,
                             const ReadOptions& options,
                             const ClipCut& cut,
                             const std::filesystem::path& program) {
  Lane& lane = *lanes_[index];
  const auto frame_bytes = static_cast<size_t>(options.height * options.width * 3);
  const size_t clip_bytes = frame_bytes * static_cast<size_t>(cut.frames);
  ReadOptions limited = options;
  if (cut.max_clips > 0) limited.max_frames = (cut.max_clips - 1) * cut.stride + cut.frames;
  try {
    DecoderProcess decoder(program);
    for (size_t video = index; video < videos_.size(); video += lanes_.size()) {
      std::vector<uint8_t> pending;
      int64_t first = 0;  // frame at the front of `pending`
      bool wanted = true;
      DecodedClip end;
      end.video = video;
      end.outcome = decoder.read(videos_[video], limited, [&](int64_t frame, const uint8_t* rgb) {
        if (frame < first) return true;  // between two clips
        pending.insert(pending.end(), rgb, rgb + frame_bytes);
        if (pending.size() < clip_bytes) return true;
        DecodedClip clip;
        clip.video = video;
        clip.first_frame = first;
        clip.frames = cut.frames;
        clip.height = options.height;
        clip.width = options.width;
        clip.rgb_FHW3 = pending;
        const auto kept = std::max<int64_t>(0, cut.frames - cut.stride);
        pending.erase(pending.begin(), pending.end() - static_cast<int64_t>(frame_bytes) * kept);
        first += cut.stride;
        return wanted = put(lane, std::move(clip));
      });
      if (!wanted || !put(lane, std::move(end))) return;
    }
  } catch (...) {
    const std::lock_guard lock(lane.mutex);
    lane.failure = std::current_exception();
    lane.changed.notify_all();
  }
}

bool DecodePool::next(DecodedClip& clip, const std::function<void()>& idle) {
  if (current_ == videos_.size()) return false;
  Lane& lane = *lanes_[current_ % lanes_.size()];
  std::unique_lock lock(lane.mutex);
  while (!lane.changed.wait_for(
      lock, std::chrono::milliseconds(100), [&] { return !lane.clips.empty() || lane.failure; })) {
    lock.unlock();
    if (idle) idle();
    lock.lock();
  }
  if (lane.clips.empty()) std::rethrow_exception(lane.failure);
  clip = std::move(lane.clips.front());
  lane.clips.pop_front();
  lane.changed.notify_all();
  if (clip.is_end()) ++current_;
  return true;
}

}  // namespace vmla::data
