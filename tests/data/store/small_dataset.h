#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data/store/latent_file_writer.h"
#include "model/io/atomic_file.h"
#include "model/io/format.h"

namespace vmla::data {

inline LatentInfo info_of(std::vector<int64_t> clip_shape) {
  LatentInfo info;
  info.codec = "space_to_depth:2";
  info.codec_hash = "abc";
  info.text_encoder = "hashing:4x8";
  info.text_encoder_hash = "def";
  info.fps = 8;
  info.pixel_height = info.pixel_width = 4;
  info.pixel_frames = 3;
  info.clip_shape = std::move(clip_shape);
  info.text_dim = 4;
  return info;
}

inline const std::vector<float> kEmptyText = {9, 8, 7, 6};

/// The latents of clip `clip`, and its text.
inline at::Tensor clip_values(int64_t clip) {
  return (at::arange(3 * 12 * 2 * 2).to(at::kFloat) + static_cast<double>(clip * 1000))
      .view({3, 12, 2, 2});
}
inline at::Tensor text_values(int64_t clip) {
  return at::arange((clip % 3 + 1) * 4).to(at::kFloat).view({-1, 4}) + static_cast<double>(clip);
}

/// A dataset of `n` clips: those with the numbers from `first` on.
inline void write_dataset(const std::filesystem::path& path,
                          int64_t n,
                          int64_t first = 0,
                          const std::string& codec = "space_to_depth:2") {
  LatentInfo info = info_of({3, 12, 2, 2});
  info.codec = codec;
  std::vector<ClipRecord> clips;
  for (int64_t i = 0; i < n; ++i) {
    clips.push_back({formatted("caption {} ünï", first + i),
                     formatted("video{}.mp4", first + i),
                     10 * i,
                     (first + i) % 3 + 1});
  }
  io::publish_file(path, [&](const std::filesystem::path& temporary) {
    LatentFileWriter writer(temporary, info, clips, kEmptyText);
    for (int64_t i = 0; i < n; ++i) {
      const at::Tensor latents = clip_values(first + i).to(at::kBFloat16),
                       text = text_values(first + i);
      writer.write_latents(i, static_cast<const uint16_t*>(latents.const_data_ptr()));
      writer.write_text(i, text.const_data_ptr<float>());
    }
    writer.close();
  });
}

}  // namespace vmla::data
