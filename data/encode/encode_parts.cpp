#include "data/encode/encode_parts.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "data/store/latent_file.h"
#include "data/store/latent_file_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/counted.h"
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
  std::error_code ignored;
  const fs::file_status status = fs::symlink_status(out, ignored);
  if (fs::is_directory(status)) {
    fail_user("{}: is a folder; name a file to write", out.string());
  }
  if (fs::exists(status) && !overwrite) {
    fail_user("{}: exists; remove it or pass --overwrite", out.string());
  }
  return lock;
}

EncodeParts::EncodeParts(DatasetJob job)
    : job_(std::move(job)), folder_(job_.out.string() + ".parts") {
  find_finished_parts();
}

void EncodeParts::find_finished_parts() {
  std::error_code problem;
  if (fs::symlink_status(folder_, problem).type() == fs::file_type::not_found) return;
  fs::directory_iterator entry(folder_, problem);
  for (; !problem && entry != fs::directory_iterator(); entry.increment(problem)) {
    if (entry->path().filename().string().starts_with("part-")) parts_.push_back(entry->path());
  }
  if (problem) {
    fail_user("{}: the parts of an unfinished job cannot be read: {}",
              folder_.string(),
              problem.message());
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
    if (!file.clips().empty()) last_stored_ = file.clips().back();
    if (!file.info().clip_shape.empty()) job_.info.clip_shape = file.info().clip_shape;
    skipped_.insert(skipped_.end(), part->skipped.begin(), part->skipped.end());
  }
  committed_skipped_ = skipped_.size();
  first_video_ = end_video_;
}

void EncodeParts::append(EncodedClip clip) {
  if (!clip.shape.empty()) job_.info.clip_shape = clip.shape;
  pending_bytes_ +=
      clip.latents.size() * sizeof(uint16_t) + clip.ode.size() + clip.text.size() * sizeof(float);
  pending_.push_back(std::move(clip));
}

void EncodeParts::add(EncodedClip clip) {
  const std::lock_guard lock(mutex_);
  append(std::move(clip));
  // A single clip may wait for the end of its video, which most often has no other.
  if (pending_.size() > 1) commit_if_due();
}

void EncodeParts::add_video(EncodedClip clip) {
  const std::lock_guard lock(mutex_);
  append(std::move(clip));
  ++end_video_;
  commit_if_due();
}

void EncodeParts::end_of_video(std::optional<SkippedVideo> problem) {
  const std::lock_guard lock(mutex_);
  if (problem) skipped_.push_back(std::move(*problem));
  ++end_video_;
  commit_if_due();
}

void EncodeParts::commit_if_due() {
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - last_commit_;
  const bool due = waited.count() >= job_.part_seconds;
  if (pending_.size() >= kPartClips || pending_bytes_ >= kPartBytes || due) commit_pending();
}

void EncodeParts::commit() {
  const std::lock_guard lock(mutex_);
  commit_pending();
}

fs::path EncodeParts::next_path() const {
  const std::string name = formatted("part-{:012}", first_video_);
  int64_t same = 0;  // parts that begin with this video, or within it
  for (auto part = parts_.rbegin();
       part != parts_.rend() && part->filename().string().starts_with(name);
       ++part) {
    ++same;
  }
  // '_' stands behind '.' in the order of names.
  return folder_ / (same == 0 ? name + ".h5" : formatted("{}_{:06}.h5", name, same));
}

void EncodeParts::commit_pending() {
  if (end_video_ == first_video_ && pending_.empty()) return;
  PartInfo part;
  part.job = job_.fingerprint;
  part.first_video = first_video_;
  part.end_video = end_video_;
  part.skipped.assign(skipped_.begin() + static_cast<std::ptrdiff_t>(committed_skipped_),
                      skipped_.end());
  std::vector<ClipRecord> records;
  for (const EncodedClip& clip : pending_) records.push_back(clip.record);
  std::error_code problem;
  fs::create_directories(folder_, problem);
  if (problem) fail_run("{}: cannot make the folder: {}", folder_.string(), problem.message());
  const fs::path path = next_path();
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
  // One part is open at a time: a large job has more of them than a process may open files.
  std::vector<ClipRecord> records;
  for (const fs::path& path : parts_) {
    const LatentFile part(path);
    records.insert(records.end(), part.clips().begin(), part.clips().end());
  }
  io::publish_file(job_.out, [&](const fs::path& temporary) {
    LatentFileWriter writer(temporary, job_.info, records, job_.empty_text);
    int64_t place = 0;
    for (const fs::path& path : parts_) {
      const LatentFile part(path);
      const auto clips = static_cast<int64_t>(part.clips().size());
      for (int64_t clip = 0; clip < clips; ++clip) copy_clip(part, clip, writer, place++);
    }
    writer.close();
  });
  remove();
}

void EncodeParts::remove() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

std::string commit_at_stop(EncodeParts& parts, int64_t total, std::string_view thing) {
  parts.commit();
  return formatted("{} of {} are stored; the same command goes on from there",
                   parts.end_video(),
                   io::counted(total, thing));
}

}  // namespace vmla::data
