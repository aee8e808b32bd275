#include "data/encode/encode_parts.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "data/store/latent_file.h"
#include "data/store/latent_file_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// A part is committed after this many clips or bytes at the latest, because they wait in memory.
constexpr size_t kPartClips = 256;
constexpr size_t kPartBytes = size_t{256} << 20;

/// Copies clip `from` of a part to place `to` of the merged dataset.
void copy_clip(const LatentFile& part, int64_t from, LatentFileWriter& writer, int64_t to) {
  if (part.info().has_latents) {
    const std::vector<int64_t>& shape = part.info().clip_shape;
    std::vector<uint16_t> latents(block_bytes(shape, false) / sizeof(uint16_t));
    part.read_latents(from, latents.data());
    writer.write_latents(to, latents.data());
  }
  if (part.ode_bytes() > 0) {
    std::vector<std::byte> states(part.ode_bytes());
    part.read_ode(from, states.data());
    writer.write_ode(to, states.data());
  }
  const int64_t rows = part.clips()[static_cast<size_t>(from)].text_rows;
  std::vector<float> text(static_cast<size_t>(rows * part.info().text_dim));
  part.read_text(from, text.data());
  writer.write_text(to, text.data());
}

}  // namespace

std::unique_ptr<io::FileLock> claim_output(const fs::path& out, bool overwrite) {
  const fs::path lock_file = out.string() + ".lock";
  auto lock = io::FileLock::try_now(lock_file);
  if (!lock) {
    fail_user("{}: {} is writing it; wait for it or stop it",
              out.string(),
              io::FileLock::holder(lock_file));
  }
  if (fs::exists(out) && !overwrite) {
    fail_user("{}: exists; remove it or pass --overwrite", out.string());
  }
  return lock;
}

EncodeParts::EncodeParts(DatasetJob job)
    : job_(std::move(job)), folder_(job_.out.string() + ".parts") {
  find_finished_parts();
}

void EncodeParts::find_finished_parts() {
  if (!fs::exists(folder_)) return;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename().string().starts_with("part-")) parts_.push_back(entry.path());
  }
  // Names count videos with leading zeros, so their order is that of the videos.
  std::sort(parts_.begin(), parts_.end());
  for (const fs::path& path : parts_) {
    const LatentFile file(path);
    const std::optional<PartInfo>& part = file.part();
    if (!part || part->job != job_.fingerprint || part->first_video != end_video_) {
      fail_user(
          "{}: holds the parts of an unfinished job with other inputs or settings; repeat that "
          "job, or remove the folder",
          folder_.string());
    }
    end_video_ = part->end_video;
    committed_clips_ += static_cast<int64_t>(file.clips().size());
    if (!file.info().clip_shape.empty()) job_.info.clip_shape = file.info().clip_shape;
    skipped_.insert(skipped_.end(), part->skipped.begin(), part->skipped.end());
  }
  committed_skipped_ = skipped_.size();
  first_video_ = end_video_;
}

void EncodeParts::add(EncodedClip clip) {
  if (!clip.shape.empty()) job_.info.clip_shape = clip.shape;
  pending_bytes_ +=
      clip.latents.size() * sizeof(uint16_t) + clip.ode.size() + clip.text.size() * sizeof(float);
  pending_.push_back(std::move(clip));
}

void EncodeParts::end_of_video(std::optional<SkippedVideo> problem) {
  ++end_video_;
  if (problem) skipped_.push_back(std::move(*problem));
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - last_commit_;
  const bool due = waited.count() >= job_.part_seconds;
  if (pending_.size() >= kPartClips || pending_bytes_ >= kPartBytes || due) commit();
}

void EncodeParts::commit() {
  if (end_video_ == first_video_) return;
  PartInfo part;
  part.job = job_.fingerprint;
  part.first_video = first_video_;
  part.end_video = end_video_;
  part.skipped.assign(skipped_.begin() + static_cast<std::ptrdiff_t>(committed_skipped_),
                      skipped_.end());
  std::vector<ClipRecord> records;
  for (const EncodedClip& clip : pending_) records.push_back(clip.record);
  fs::create_directories(folder_);
  const fs::path path = folder_ / formatted("part-{:012}.h5", first_video_);
  io::publish_file(path, [&](const fs::path& temporary) {
    LatentFileWriter writer(temporary, job_.info, records, job_.empty_text, part);
    for (size_t i = 0; i < pending_.size(); ++i) {
      const EncodedClip& clip = pending_[i];
      const auto place = static_cast<int64_t>(i);
      if (job_.info.has_latents) writer.write_latents(place, clip.latents.data());
      if (!clip.ode.empty()) writer.write_ode(place, clip.ode.data());
      writer.write_text(place, clip.text.data());
    }
    writer.close();
  });
  parts_.push_back(path);
  committed_clips_ += static_cast<int64_t>(pending_.size());
  committed_skipped_ = skipped_.size();
  pending_.clear();
  pending_bytes_ = 0;
  first_video_ = end_video_;
  last_commit_ = std::chrono::steady_clock::now();
}

void EncodeParts::merge() {
  commit();
  std::vector<std::unique_ptr<LatentFile>> files;
  std::vector<ClipRecord> records;
  for (const fs::path& path : parts_) {
    files.push_back(std::make_unique<LatentFile>(path));
    records.insert(records.end(), files.back()->clips().begin(), files.back()->clips().end());
  }
  io::publish_file(job_.out, [&](const fs::path& temporary) {
    LatentFileWriter writer(temporary, job_.info, records, job_.empty_text);
    int64_t place = 0;
    for (const auto& part : files) {
      const auto clips = static_cast<int64_t>(part->clips().size());
      for (int64_t clip = 0; clip < clips; ++clip) copy_clip(*part, clip, writer, place++);
    }
    writer.close();
  });
  remove();
}

void EncodeParts::remove() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

}  // namespace vmla::data
