#include "data/encode/encode_parts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "data/store/latent_dataset.h"
#include "data/store/latent_file_writer.h"
#include "model/codec/text_encoder.h"
#include "model/io/atomic_file.h"
#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// A part is committed after this many clips or bytes at the latest: what a kill may cost.
constexpr size_t kPartClips = 256;
constexpr size_t kPartBytes = size_t{256} << 20;

}  // namespace

std::unique_ptr<io::FileLock> claim_output(const fs::path& out, bool overwrite) {
  const fs::path lock_file = out.string() + ".lock";
  auto lock = io::FileLock::try_now(lock_file);
  if (!lock) {
    fail_user("{}: {} is writing it; wait for it or stop it",
              out.string(),
              io::FileLock::holder(lock_file));
  }
  if (fs::exists(out) && !overwrite)
    fail_user("{}: exists; remove it or pass --overwrite", out.string());
  return lock;
}

void set_latents(EncodedClip& clip, const at::Tensor& latents_FCHW) {
  const at::Tensor rounded = latents_FCHW.to(at::kBFloat16).contiguous();
  clip.shape = rounded.sizes().vec();
  const auto* bits = static_cast<const uint16_t*>(rounded.const_data_ptr());
  clip.latents.assign(bits, bits + rounded.numel());
}

std::vector<float> text_rows(const model::TextEncoder& encoder, const std::string& prompt) {
  const at::Tensor rows = encoder.encode(prompt).to(at::kFloat).contiguous();
  const float* values = rows.const_data_ptr<float>();
  return {values, values + rows.numel()};
}

EncodeParts::EncodeParts(fs::path out,
                         LatentInfo info,
                         std::vector<float> empty_text,
                         std::string job,
                         double part_seconds)
    : out_(std::move(out)),
      folder_(out_.string() + ".parts"),
      info_(std::move(info)),
      empty_text_(std::move(empty_text)),
      job_(std::move(job)),
      part_seconds_(part_seconds) {
  take_up();
}

void EncodeParts::take_up() {
  if (!fs::exists(folder_)) return;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename().string().starts_with("part-")) parts_.push_back(entry.path());
  }
  std::sort(parts_.begin(), parts_.end());
  for (const fs::path& path : parts_) {
    const LatentFile part(path);
    if (!part.part() || part.part()->job != job_ || part.part()->first_video != end_video_) {
      fail_user(
          "{}: holds the parts of an unfinished job with other inputs or settings; repeat that "
          "job, or remove the folder",
          folder_.string());
    }
    end_video_ = part.part()->end_video;
    committed_clips_ += static_cast<int64_t>(part.clips().size());
    if (!part.info().clip_shape.empty()) info_.clip_shape = part.info().clip_shape;
    for (const SkippedVideo& video : part.part()->skipped) skipped_.push_back(video);
  }
  committed_skipped_ = skipped_.size();
  first_video_ = end_video_;
}

void EncodeParts::add(EncodedClip clip) {
  if (!clip.shape.empty()) info_.clip_shape = clip.shape;
  pending_bytes_ +=
      clip.latents.size() * sizeof(uint16_t) + clip.ode.size() + clip.text.size() * sizeof(float);
  pending_.push_back(std::move(clip));
}

void EncodeParts::end_of_video(std::optional<SkippedVideo> problem) {
  ++end_video_;
  if (problem) skipped_.push_back(std::move(*problem));
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - last_commit_;
  const bool due = waited.count() >= part_seconds_;
  if (pending_.size() >= kPartClips || pending_bytes_ >= kPartBytes || due) commit();
}

void EncodeParts::commit() {
  if (end_video_ == first_video_) return;
  char name[32];
  std::snprintf(name, sizeof name, "part-%012lld.h5", static_cast<long long>(first_video_));
  PartInfo part;
  part.job = job_;
  part.first_video = first_video_;
  part.end_video = end_video_;
  part.skipped.assign(skipped_.begin() + static_cast<std::ptrdiff_t>(committed_skipped_),
                      skipped_.end());
  std::vector<ClipRecord> records;
  for (const EncodedClip& clip : pending_) records.push_back(clip.record);
  fs::create_directories(folder_);
  io::publish_file(folder_ / name, [&](const fs::path& temporary) {
    LatentFileWriter writer(temporary, info_, records, empty_text_, part);
    for (size_t i = 0; i < pending_.size(); ++i) {
      if (info_.has_latents)
        writer.write_latents(static_cast<int64_t>(i), pending_[i].latents.data());
      if (!pending_[i].ode.empty())
        writer.write_ode(static_cast<int64_t>(i), pending_[i].ode.data());
      writer.write_text(static_cast<int64_t>(i), pending_[i].text.data());
    }
    writer.close();
  });
  parts_.push_back(folder_ / name);
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
  io::publish_file(out_, [&](const fs::path& temporary) {
    LatentFileWriter writer(temporary, info_, records, empty_text_);
    std::vector<uint16_t> latents(block_bytes(info_.clip_shape, false) / sizeof(uint16_t));
    std::vector<std::byte> ode;
    std::vector<float> text;
    int64_t at = 0;
    for (const auto& file : files) {
      for (size_t i = 0; i < file->clips().size(); ++i, ++at) {
        const auto clip = static_cast<int64_t>(i);
        if (info_.has_latents) {
          file->read_latents(clip, latents.data());
          writer.write_latents(at, latents.data());
        }
        if (file->ode_bytes() > 0) {
          ode.resize(file->ode_bytes());
          file->read_ode(clip, ode.data());
          writer.write_ode(at, ode.data());
        }
        text.resize(static_cast<size_t>(file->clips()[i].text_rows * info_.text_dim));
        file->read_text(clip, text.data());
        writer.write_text(at, text.data());
      }
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
