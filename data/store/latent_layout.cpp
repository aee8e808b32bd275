#include "data/store/latent_layout.h"

#include <string>

#include "data/store/disk_space.h"
#include "data/store/hdf5_reader.h"
#include "data/store/hdf5_writer.h"

namespace vmla::data {
namespace {

void write_attributes(Hdf5Writer& file,
                      const LatentInfo& info,
                      const std::optional<PartInfo>& part) {
  file.attribute("format_version", kLatentFormatVersion);
  if (info.has_latents || !info.codec.empty()) {
    file.attribute("codec", info.codec);
    file.attribute("codec_hash", info.codec_hash);
    file.attribute("fps", info.fps);
    file.attribute("pixel_size", std::vector<int64_t>{info.pixel_height, info.pixel_width});
    file.attribute("pixel_frames", info.pixel_frames);
    if (!info.has_latents && !info.clip_shape.empty()) {
      file.attribute("clip_shape", info.clip_shape);
    }
  }
  file.attribute("text_encoder", info.text_encoder);
  file.attribute("text_encoder_hash", info.text_encoder_hash);
  if (!info.origin.empty()) file.attribute("origin", info.origin);
  if (!info.scene.empty()) file.attribute("scene", info.scene);
  if (part) {
    file.attribute("job", part->job);
    file.attribute("videos", std::vector<int64_t>{part->first_video, part->end_video});
    std::vector<std::string> skipped;
    for (const SkippedVideo& video : part->skipped) {
      skipped.push_back(video.file);
      skipped.push_back(video.reason);
    }
    if (!skipped.empty()) file.write("/skipped", skipped);
  }
}

/// /source: a file name and a frame for each clip.
void write_sources(Hdf5Writer& file, const std::vector<ClipRecord>& clips) {
  struct Source {
    const char* file;
    int64_t first_frame;
  };
  const Hdf5Handle text = hdf5_string_type();
  const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Source)), H5Tclose);
  H5Tinsert(type, "file", HOFFSET(Source, file), text);
  H5Tinsert(type, "first_frame", HOFFSET(Source, first_frame), H5T_NATIVE_INT64);
  std::vector<Source> sources;
  for (const ClipRecord& clip : clips) {
    sources.push_back({clip.source_file.c_str(), clip.first_frame});
  }
  file.write_reserved("/source", type, {sources.size()}, sources.data());
}

/// Shape and size of the blocks; their places are not known yet.
ClipArray block_array(std::vector<int64_t> shape, bool fp32) {
  ClipArray array;
  array.bytes = block_bytes(shape, fp32);
  array.shape = std::move(shape);
  array.fp32 = fp32;
  return array;
}

/// Reserves a dataset of `n` blocks, one chunk each.
void reserve_blocks(Hdf5Writer& file, const char* name, hsize_t n, const ClipArray& array) {
  std::vector<hsize_t> sizes = {n};
  sizes.insert(sizes.end(), array.shape.begin(), array.shape.end());
  const Hdf5Handle set = file.reserve(
      name, array.fp32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_UINT16, sizes, Hdf5Writer::Chunks::kOneARow);
  if (!array.fp32) file.attribute(set, "dtype", "bfloat16");
}

/// Where the reserved blocks lie.
void locate_blocks(const std::filesystem::path& path, int64_t n, ClipPlaces& places) {
  const Hdf5Reader reader(path, "a dataset that was just laid out");
  if (places.latents.bytes > 0) {
    places.latents = locate_clip_array(reader, {.name = "/latents", .clips = n, .dimensions = 4});
  }
  if (places.ode.bytes > 0) {
    places.ode = locate_clip_array(
        reader, {.name = "/ode", .clips = n, .dimensions = 5, .may_be_fp32 = true});
  }
}

/// What the finished file takes at most, its seal excepted but for the digests.
uint64_t file_bytes(const std::vector<ClipRecord>& clips,
                    const ClipPlaces& places,
                    int64_t text_dim) {
  const uint64_t n = clips.size();
  uint64_t names = 0;
  for (const ClipRecord& clip : clips) names += clip.caption.size() + clip.source_file.size();
  const auto embeddings = static_cast<uint64_t>(places.text_rows.back() * text_dim) * sizeof(float);
  // Structure: at most some 300 bytes a clip (chunk index, string references) and half as much for
  // ODE states, a digest of 32 bytes of each kind of numbers, 64 KiB otherwise.
  const uint64_t structure = places.ode.bytes > 0 ? 768 : 512;
  return (places.latents.bytes + places.ode.bytes + structure) * n + embeddings + 2 * names +
         (1u << 16);
}

void lay_out_clips(Hdf5Writer& file,
                   const LatentInfo& info,
                   const std::vector<ClipRecord>& clips,
                   ClipPlaces& places) {
  const hsize_t n = clips.size();
  std::vector<std::string> captions;
  for (const ClipRecord& clip : clips) captions.push_back(clip.caption);
  file.write("/captions", captions);
  if (info.has_latents) write_sources(file, clips);
  file.write_reserved("/text/offsets", H5T_NATIVE_INT64, {n + 1}, places.text_rows.data());
  const auto rows = static_cast<hsize_t>(places.text_rows.back());
  const Hdf5Handle text = file.reserve(
      "/text/embeddings", H5T_NATIVE_FLOAT, {rows, static_cast<hsize_t>(info.text_dim)});
  places.text_offset = H5Dget_offset(text);
  file.check(places.text_offset != HADDR_UNDEF, "/text/embeddings");
  if (places.latents.bytes > 0) reserve_blocks(file, "/latents", n, places.latents);
  if (places.ode.bytes > 0) {
    reserve_blocks(file, "/ode", n, places.ode);
    const std::vector<double>& times = info.ode_times;
    file.write_reserved("/ode_times", H5T_NATIVE_DOUBLE, {times.size()}, times.data());
  }
}

}  // namespace

ClipPlaces lay_out_latent_file(const std::filesystem::path& path,
                               const LatentInfo& info,
                               const std::vector<ClipRecord>& clips,
                               const std::vector<float>& empty_text,
                               const std::optional<PartInfo>& part) {
  ClipPlaces places;
  for (const ClipRecord& clip : clips) {
    places.text_rows.push_back(places.text_rows.back() + clip.text_rows);
  }
  if (info.has_latents && !clips.empty()) {
    places.latents = block_array(info.clip_shape, false);
    if (!info.ode_times.empty()) {
      std::vector<int64_t> shape = info.clip_shape;
      shape.insert(shape.begin(), static_cast<int64_t>(info.ode_times.size()));
      places.ode = block_array(std::move(shape), info.ode_fp32);
    }
  }
  const uint64_t bytes = file_bytes(clips, places, info.text_dim);
  reserve_disk_space(path, bytes);
  Hdf5Writer file(path);
  keep_disk_space(path, bytes);
  write_attributes(file, info, part);
  const auto text_dim = static_cast<hsize_t>(info.text_dim);
  if (!empty_text.empty()) {
    file.write_reserved("/text/empty",
                        H5T_NATIVE_FLOAT,
                        {empty_text.size() / text_dim, text_dim},
                        empty_text.data());
  }
  if (!info.negative_text.empty()) {
    file.attribute("negative_prompt", info.negative_prompt);
    file.write_reserved("/text/negative",
                        H5T_NATIVE_FLOAT,
                        {info.negative_text.size() / text_dim, text_dim},
                        info.negative_text.data());
  }
  if (!clips.empty()) lay_out_clips(file, info, clips, places);
  file.close();
  locate_blocks(path, static_cast<int64_t>(clips.size()), places);
  return places;
}

}  // namespace vmla::data
