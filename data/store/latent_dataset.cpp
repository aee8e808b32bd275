#include "data/store/latent_dataset.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

/// The first thing in which two files of one dataset differ, in words; empty if none.
std::string difference(const LatentInfo& a, const LatentInfo& b) {
  if (a.has_latents != b.has_latents) {
    return b.has_latents ? "clips against prompts" : "prompts against clips";
  }
  // What prompts are for is one shape, as one model has it.
  if (!a.has_latents && a.clip_shape != b.clip_shape) return "clip shape";
  const auto channels = [](const LatentInfo& info) {
    return info.clip_shape.size() == 4 ? info.clip_shape[1] : 0;
  };
  if (channels(a) != channels(b)) return "latent channels";
  if (a.ode_times != b.ode_times || a.ode_fp32 != b.ode_fp32) return "ODE states";
  if (a.codec != b.codec) return formatted("codec: {} against {}", b.codec, a.codec);
  if (a.codec_hash != b.codec_hash) return formatted("another version of codec {}", b.codec);
  if (a.text_encoder_hash != b.text_encoder_hash || a.text_dim != b.text_dim) {
    return formatted("text encoder: {} against {}", b.text_encoder, a.text_encoder);
  }
  if (a.fps != b.fps) return formatted("fps: {:g} against {:g}", b.fps, a.fps);
  if (a.negative_prompt != b.negative_prompt || a.negative_text != b.negative_text)
    return "negative prompt";
  if (a.scene != b.scene) return "scene";
  LatentInfo alike = b;
  alike.origin = a.origin;  // files of different origin may be one dataset
  if (a.has_latents) {
    alike.clip_shape = a.clip_shape;
    alike.pixel_height = a.pixel_height, alike.pixel_width = a.pixel_width;
    alike.pixel_frames = a.pixel_frames;
  }
  return a == alike ? "" : "sizes";
}

}  // namespace

LatentDataset::LatentDataset(const fs::path& path) {
  std::vector<fs::path> files;
  std::error_code problem;
  if (fs::is_directory(path, problem)) {
    fs::directory_iterator entries(path, problem);
    if (problem) fail_user("{}: {}", path.string(), problem.message());
    for (const auto& entry : entries) {
      const std::string name = entry.path().filename().string();
      if (entry.path().extension() == ".h5" && name[0] != '.') files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    if (files.empty()) {
      fail_user("{}: no .h5 file in this folder; a latent dataset is one or several of them",
                path.string());
    }
  } else {
    files.push_back(path);
  }
  first_clip_ = {0};
  for (const fs::path& file : files) {
    files_.push_back(std::make_unique<LatentFile>(file));
    const LatentFile& opened = *files_.back();
    if (opened.part()) {
      fail_user("{}: is a part of an unfinished dataset; repeat the command that began it",
                file.string());
    }
    const std::string differs = difference(info(), opened.info());
    if (!differs.empty()) {
      fail_user("{}: does not fit {} ({})", file.string(), files.front().string(), differs);
    }
    first_clip_.push_back(first_clip_.back() + static_cast<int64_t>(opened.clips().size()));
    for (const ClipRecord& clip : opened.clips()) {
      max_text_rows_ = std::max(max_text_rows_, clip.text_rows);
    }
  }
  fill_buckets();
  for (const auto* text : {&files_.front()->empty_text(), &info().negative_text}) {
    max_text_rows_ = std::max(max_text_rows_, static_cast<int64_t>(text->size()) / info().text_dim);
  }
}

void LatentDataset::fill_buckets() {
  for (size_t file = 0; file < files_.size(); ++file) {
    const std::vector<int64_t>& shape = files_[file]->info().clip_shape;
    const auto known = std::find(shapes_.begin(), shapes_.end(), shape);
    const auto bucket = static_cast<size_t>(known - shapes_.begin());
    if (known == shapes_.end()) {
      shapes_.push_back(shape);
      buckets_.emplace_back();
    }
    buckets_[bucket].push_back({first_clip_[file], first_clip_[file + 1]});
  }
  const auto largest = std::ranges::max_element(buckets_, {}, clip_count);
  const auto& shape = shapes_[static_cast<size_t>(largest - buckets_.begin())];
  const auto first = std::ranges::find_if(
      files_, [&](const auto& file) { return file->info().clip_shape == shape; });
  most_frequent_ = static_cast<size_t>(first - files_.begin());
}

bool LatentDataset::has_digests() const {
  return std::all_of(
      files_.begin(), files_.end(), [](const auto& file) { return file->seal().clips > 0; });
}

LatentDataset::Place LatentDataset::place(int64_t index) const {
  TORCH_CHECK(
      index >= 0 && index < size(), "clip index ", index, " outside of a dataset of ", size());
  const auto after = std::upper_bound(first_clip_.begin(), first_clip_.end(), index);
  const auto file = static_cast<size_t>(after - first_clip_.begin() - 1);
  return {files_[file].get(), index - first_clip_[file]};
}

at::Tensor LatentDataset::stored_latents(int64_t index) const {
  TORCH_CHECK(has_latents(), "a prompt set has no latents");
  const Place at = place(index);
  at::Tensor bits = at::empty(at.file->info().clip_shape, at::kBFloat16);
  at.file->read_latents(at.clip, static_cast<uint16_t*>(bits.data_ptr()));
  return bits;
}

at::Tensor LatentDataset::latents(int64_t index) const {
  return stored_latents(index).to(at::kFloat);
}

at::Tensor LatentDataset::ode_states(int64_t index) const {
  TORCH_CHECK(has_ode(), "the dataset has no ODE states");
  const Place at = place(index);
  std::vector<int64_t> shape = at.file->info().clip_shape;
  shape.insert(shape.begin(), static_cast<int64_t>(info().ode_times.size()));
  at::Tensor stored = at::empty(shape, info().ode_fp32 ? at::kFloat : at::kBFloat16);
  at.file->read_ode(at.clip, stored.data_ptr());
  return stored.to(at::kFloat);
}

at::Tensor LatentDataset::text(int64_t index) const {
  const Place at = place(index);
  at::Tensor rows = at::empty(
      {at.file->clips()[static_cast<size_t>(at.clip)].text_rows, info().text_dim}, at::kFloat);
  at.file->read_text(at.clip, rows.data_ptr<float>());
  return rows;
}

at::Tensor LatentDataset::empty_text() const {
  const std::vector<float>& rows = files_.front()->empty_text();
  if (rows.empty()) {
    fail_user("{}: /text/empty: missing; caption dropout needs the empty prompt's embedding there",
              files_.front()->path().string());
  }
  at::Tensor out =
      at::empty({static_cast<int64_t>(rows.size()) / info().text_dim, info().text_dim}, at::kFloat);
  std::copy(rows.begin(), rows.end(), out.data_ptr<float>());
  return out;
}

const ClipRecord& LatentDataset::record(int64_t index) const {
  const Place at = place(index);
  return at.file->clips()[static_cast<size_t>(at.clip)];
}

}  // namespace vmla::data
