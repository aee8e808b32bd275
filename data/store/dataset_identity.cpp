#include "data/store/dataset_identity.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "data/store/latent_file.h"
#include "model/io/sha256.h"

namespace vmla::data {
namespace {

constexpr int64_t kMostClipsRead = 64;
constexpr uint64_t kMostBytesRead = uint64_t{64} << 20;

/// Hashes values one after another, each so that no other row of values gives the same bytes.
class ContentHash {
 public:
  void add(std::string_view text) {
    add(static_cast<int64_t>(text.size()));
    hash_.update(text.data(), text.size());
  }
  void add(const char* text) { add(std::string_view(text)); }
  void add(int64_t value) { hash_.update(&value, sizeof value); }
  void add(double value) { hash_.update(&value, sizeof value); }
  template <class T>
  void add(const std::vector<T>& values) {
    add(static_cast<int64_t>(values.size()));
    hash_.update(values.data(), values.size() * sizeof(T));
  }
  std::string finish() { return hash_.finish(); }

 private:
  io::Sha256 hash_;
};

void add_description(const LatentFile& file, ContentHash& hash) {
  const LatentInfo& info = file.info();
  for (const std::string* text :
       {&info.codec, &info.codec_hash, &info.text_encoder, &info.text_encoder_hash, &info.origin}) {
    hash.add(*text);
  }
  if (!info.scene.empty()) hash.add(info.scene);  // without one, as below
  hash.add(info.fps);
  for (const int64_t number : {info.pixel_height,
                               info.pixel_width,
                               info.pixel_frames,
                               info.text_dim,
                               int64_t{info.has_latents},
                               int64_t{info.ode_fp32}}) {
    hash.add(number);
  }
  hash.add(info.clip_shape);
  hash.add(info.ode_times);
  hash.add(file.empty_text());
  if (!info.negative_text.empty()) {  // a dataset without one keeps the identity that it had
    hash.add(info.negative_prompt);
    hash.add(info.negative_text);
  }
  hash.add(static_cast<int64_t>(file.clips().size()));
  for (const ClipRecord& clip : file.clips()) {
    hash.add(clip.caption);
    hash.add(clip.source_file);
    hash.add(clip.first_frame);
    hash.add(clip.text_rows);
  }
}

void add_numbers(const LatentFile& file, int64_t clip, ContentHash& hash) {
  const LatentInfo& info = file.info();
  if (info.has_latents) {
    std::vector<uint16_t> latents(block_bytes(info.clip_shape, false) / sizeof(uint16_t));
    file.read_latents(clip, latents.data());
    hash.add(latents);
  }
  if (file.ode_bytes() > 0) {
    std::vector<std::byte> states(file.ode_bytes());
    file.read_ode(clip, states.data());
    hash.add(states);
  }
  const int64_t rows = file.clips()[static_cast<size_t>(clip)].text_rows;
  std::vector<float> text(static_cast<size_t>(rows * info.text_dim));
  file.read_text(clip, text.data());
  hash.add(text);
}

std::string file_hash(const LatentFile& file) {
  const SealState& seal = file.seal();
  if (seal.clips > 0) return seal.hash;  // covers every byte of the file
  ContentHash hash;
  add_description(file, hash);
  const auto clips = static_cast<int64_t>(file.clips().size());
  if (clips == 0) return hash.finish();
  const LatentInfo& info = file.info();
  const uint64_t clip_bytes = file.ode_bytes() +
                              sizeof(float) * static_cast<uint64_t>(info.text_dim) +
                              (info.has_latents ? block_bytes(info.clip_shape, false) : 0);
  const auto affordable = static_cast<int64_t>(kMostBytesRead / std::max<uint64_t>(clip_bytes, 1));
  const int64_t read = std::min({clips, kMostClipsRead, std::max<int64_t>(affordable, 2)});
  for (int64_t i = 0; i < read; ++i) {
    // The first, the last and others evenly between.
    add_numbers(file, read == 1 ? 0 : i * (clips - 1) / (read - 1), hash);
  }
  return hash.finish();
}

}  // namespace

DatasetIdentity dataset_identity(const std::vector<std::unique_ptr<LatentFile>>& files) {
  DatasetIdentity identity;
  ContentHash hash;
  for (const auto& file : files) {
    identity.clips += static_cast<int64_t>(file->clips().size());
    hash.add(file_hash(*file));
  }
  identity.hash = hash.finish();
  return identity;
}

}  // namespace vmla::data
