#include "data/store/hdf5_index.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/store/hdf5_reader.h"

namespace vmla::data {
namespace {

// Far above any picture's, so that products of sizes fit their types.
constexpr int64_t kMostPixels = 1 << 20;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += formatted("{}{}", text.empty() ? "[" : ", ", size);
  return text + "]";
}

void expect_sizes(const Hdf5Reader& reader,
                  const char* attribute,
                  const std::vector<int64_t>& sizes) {
  for (const int64_t size : sizes) {
    if (size < 1 || size > kMostPixels) {
      reader.fail(
          attribute, "attribute is {}, sizes are from 1 to {}", shape_text(sizes), kMostPixels);
    }
  }
}

/// Codec, frame rate and sizes of the clips.
void read_clip_attributes(const Hdf5Reader& reader, LatentInfo& info) {
  // A prompt set says all of it, or nothing.
  if (!info.has_latents && !reader.has_attribute("codec")) return;
  info.codec = reader.text_attribute("codec");
  info.codec_hash = reader.text_attribute("codec_hash");
  info.fps = reader.number_attribute("fps");
  if (!(std::isfinite(info.fps) && info.fps > 0)) {
    reader.fail("fps", "attribute is {:g}, must be frames a second", info.fps);
  }
  const std::vector<int64_t> pixels = reader.integer_attributes("pixel_size", 2);
  expect_sizes(reader, "pixel_size", pixels);
  info.pixel_height = pixels[0];
  info.pixel_width = pixels[1];
  if (reader.has_attribute("pixel_frames")) {
    info.pixel_frames = reader.integer_attribute("pixel_frames");
    expect_sizes(reader, "pixel_frames", {info.pixel_frames});
  }
  // Where there are clips, their own shape counts.
  if (info.has_latents || !reader.has_attribute("clip_shape")) return;
  info.clip_shape = reader.integer_attributes("clip_shape", 4);
  expect_sizes(reader, "clip_shape", info.clip_shape);
}

std::optional<PartInfo> read_part(const Hdf5Reader& reader) {
  if (!reader.has_attribute("job")) return std::nullopt;
  PartInfo part;
  part.job = reader.text_attribute("job");
  const std::vector<int64_t> videos = reader.integer_attributes("videos", 2);
  part.first_video = videos[0];
  part.end_video = videos[1];
  if (part.first_video < 0 || part.end_video < part.first_video) {
    reader.fail("videos", "attribute is {}, must be a range", shape_text(videos));
  }
  if (reader.has("/skipped")) {
    const std::vector<std::string> pairs = reader.strings("/skipped");
    for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
      part.skipped.push_back({.file = pairs[i], .reason = pairs[i + 1]});
    }
  }
  return part;
}

/// A prompt's embedding in a dataset of its own, rows of text_dim; none if it is not there. Decides
/// text_dim if nothing has yet.
std::vector<float> read_prompt_text(const Hdf5Reader& reader, const char* name, int64_t& text_dim) {
  if (!reader.has(name)) return {};
  const Hdf5Dataset text = reader.open(name, 2);
  reader.expect_type(text, H5T_FLOAT, 4, "32-bit floats");
  if (text.sizes[0] < 1 || text.sizes[1] < 1) reader.fail(name, "is empty");
  if (text_dim == 0) text_dim = text.sizes[1];
  if (text.sizes[1] != text_dim)
    reader.fail(name, "has rows of {} numbers, must have {}", text.sizes[1], text_dim);
  std::vector<float> rows(static_cast<size_t>(text.sizes[0] * text.sizes[1]));
  reader.read(text, H5T_NATIVE_FLOAT, rows.data());
  return rows;
}

void read_prompt_texts(const Hdf5Reader& reader, LatentIndex& index) {
  LatentInfo& info = index.info;
  index.empty_text = read_prompt_text(reader, "/text/empty", info.text_dim);
  info.negative_text = read_prompt_text(reader, "/text/negative", info.text_dim);
  if (!info.negative_text.empty()) info.negative_prompt = reader.text_attribute("negative_prompt");
}

/// The row at which each clip's text starts, and their number: [n + 1].
std::vector<int64_t> read_text_rows(const Hdf5Reader& reader, int64_t n) {
  const Hdf5Dataset offsets = reader.open("/text/offsets", 1);
  if (offsets.sizes[0] != n + 1) {
    reader.fail(
        "/text/offsets", "has {} entries, must have {} (clips + 1)", offsets.sizes[0], n + 1);
  }
  std::vector<int64_t> rows(static_cast<size_t>(n + 1));
  reader.expect_type(offsets, H5T_INTEGER, 8, "64-bit integers");
  reader.read(offsets, H5T_NATIVE_INT64, rows.data());
  if (rows[0] != 0) reader.fail("/text/offsets", "must start with 0, found {}", rows[0]);
  for (size_t i = 0; i + 1 < rows.size(); ++i) {
    if (rows[i + 1] <= rows[i]) {
      reader.fail("/text/offsets", "must grow; entry {} does not", i + 1);
    }
  }
  return rows;
}

void locate_text(const Hdf5Reader& reader, LatentIndex& index) {
  const Hdf5Dataset text = reader.open("/text/embeddings", 2);
  reader.expect_type(text, H5T_FLOAT, 4, "32-bit floats");
  const int64_t rows = text.sizes[0], dim = text.sizes[1];
  if (dim < 1) reader.fail("/text/embeddings", "has rows without a number");
  if (index.info.text_dim == 0) index.info.text_dim = dim;
  if (rows != index.places.text_rows.back() || dim != index.info.text_dim) {
    reader.fail("/text/embeddings",
                "is [{}, {}], must be [{}, {}] (/text/offsets, /text/empty)",
                rows,
                dim,
                index.places.text_rows.back(),
                index.info.text_dim);
  }
  const haddr_t offset = H5Dget_offset(text.id);
  if (offset == HADDR_UNDEF) {
    // Chunked, as other writers may leave it: kept in memory.
    index.text.resize(static_cast<size_t>(rows * dim));
    reader.read(text, H5T_NATIVE_FLOAT, index.text.data());
    return;
  }
  const auto bytes = static_cast<uint64_t>(rows * dim) * sizeof(float);
  if (offset > reader.file_bytes() || reader.file_bytes() - offset < bytes) {
    reader.fail("/text/embeddings", "reaches beyond the end of the file; it is truncated");
  }
  index.places.text_offset = offset;
}

/// /source: a file name and a frame for each clip.
void read_sources(const Hdf5Reader& reader, std::vector<ClipRecord>& clips) {
  struct Source {
    char* file;
    int64_t first_frame;
  };
  const Hdf5Dataset set = reader.open("/source", 1);
  if (set.sizes[0] != static_cast<int64_t>(clips.size())) {
    reader.fail("/source", "has {} entries, must have {} (clips)", set.sizes[0], clips.size());
  }
  reader.expect_type(set, H5T_COMPOUND, 0, "pairs (file, first_frame)");
  const Hdf5Handle text = hdf5_string_type();
  const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Source)), H5Tclose);
  H5Tinsert(type, "file", HOFFSET(Source, file), text);
  H5Tinsert(type, "first_frame", HOFFSET(Source, first_frame), H5T_NATIVE_INT64);
  std::vector<Source> sources(clips.size(), Source{nullptr, 0});
  reader.read(set, type, sources.data());
  for (size_t i = 0; i < clips.size(); ++i) {
    if (sources[i].file != nullptr) clips[i].source_file = sources[i].file;
    clips[i].first_frame = sources[i].first_frame;
    if (sources[i].first_frame < 0) {
      reader.fail("/source", "clip {} begins at frame {}", i, sources[i].first_frame);
    }
  }
  reader.release(set, type, sources.data());
}

/// Timesteps of the `states` states of /ode: falling, from 1000 at most to 0.
std::vector<double> read_ode_times(const Hdf5Reader& reader, int64_t states) {
  const Hdf5Dataset set = reader.open("/ode_times", 1);
  if (set.sizes[0] != states) {
    reader.fail("/ode_times", "has {} entries, /ode has {} states", set.sizes[0], states);
  }
  reader.expect_type(set, H5T_FLOAT, 8, "64-bit floats");
  std::vector<double> times(static_cast<size_t>(states));
  reader.read(set, H5T_NATIVE_DOUBLE, times.data());
  for (size_t k = 0; k < times.size(); ++k) {
    const bool falls = k == 0 || times[k] < times[k - 1];
    if (!(times[k] >= 0 && times[k] <= 1000 && falls)) {
      reader.fail("/ode_times",
                  "entry {} is {:g}; timesteps must fall from 1000 at most to 0",
                  k,
                  times[k]);
    }
  }
  if (times.size() < 2 || times.back() != 0) {
    reader.fail("/ode_times", "must have a state before the last, and end with 0, the ODE's end");
  }
  return times;
}

void locate_latents_and_ode(const Hdf5Reader& reader, LatentIndex& index) {
  LatentInfo& info = index.info;
  const auto n = static_cast<int64_t>(index.clips.size());
  if (info.has_latents) {
    index.places.latents =
        locate_clip_array(reader, {.name = "/latents", .clips = n, .dimensions = 4});
    info.clip_shape = index.places.latents.shape;
  }
  if (!reader.has("/ode")) return;
  if (!info.has_latents) {
    reader.fail("/ode", "there is no /latents; ODE pairs need the clips they belong to");
  }
  const ClipArray& ode = index.places.ode =
      locate_clip_array(reader, {.name = "/ode", .clips = n, .dimensions = 5, .may_be_fp32 = true});
  info.ode_fp32 = ode.fp32;
  const std::vector<int64_t> state_shape(ode.shape.begin() + 1, ode.shape.end());
  if (state_shape != info.clip_shape) {
    reader.fail("/ode",
                "its states are {}, the clips of /latents {}",
                shape_text(state_shape),
                shape_text(info.clip_shape));
  }
  info.ode_times = read_ode_times(reader, ode.shape[0]);
}

void read_clips(const Hdf5Reader& reader, LatentIndex& index) {
  std::vector<std::string> captions = reader.strings("/captions");
  const auto n = static_cast<int64_t>(captions.size());
  if (n == 0) reader.fail("/captions", "holds no clip");
  std::vector<int64_t>& rows = index.places.text_rows = read_text_rows(reader, n);
  locate_text(reader, index);
  for (size_t i = 0; i < captions.size(); ++i) {
    ClipRecord& clip = index.clips.emplace_back();
    clip.caption = std::move(captions[i]);
    clip.text_rows = rows[i + 1] - rows[i];
  }
  if (index.info.has_latents) read_sources(reader, index.clips);  // prompts come from no video
  locate_latents_and_ode(reader, index);
}

}  // namespace

LatentIndex read_hdf5_index(RegularFile file, bool sealed) {
  const Hdf5Reader reader(std::move(file), "a latent dataset (vmla data encode writes one)");
  if (!sealed) reader.expect_end();
  const int64_t version = reader.integer_attribute("format_version");
  if (version != kLatentFormatVersion) {
    reader.fail("format_version", "is {}, this program reads {}", version, kLatentFormatVersion);
  }
  LatentIndex index;
  LatentInfo& info = index.info;
  info.has_latents = reader.has("/latents");
  info.text_encoder = reader.text_attribute("text_encoder");
  info.text_encoder_hash = reader.text_attribute("text_encoder_hash");
  read_clip_attributes(reader, info);
  if (reader.has_attribute("origin")) info.origin = reader.text_attribute("origin");
  if (reader.has_attribute("scene")) info.scene = reader.text_attribute("scene");
  index.part = read_part(reader);
  read_prompt_texts(reader, index);
  // A part whose videos were all skipped holds no clip.
  if (!index.part || reader.has("/captions")) read_clips(reader, index);
  return index;
}

}  // namespace vmla::data
