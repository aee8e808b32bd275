#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "data/store/file_seal.h"
#include "data/store/hdf5_reader.h"
#include "data/store/latent_dataset.h"
#include "model/io/error.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) text += formatted("{}{}", text.empty() ? "[" : ", ", size);
  return text + "]";
}

}  // namespace

LatentFile::LatentFile(const fs::path& path) : path_(path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) fail_user("{}: {}", path.string(), std::strerror(errno));
  if (status.st_size == 0) fail_user("{}: the file is empty", path.string());
  const Seal seal = check_seal(path);
  if (seal == Seal::kBroken) {
    fail_user("{}: damaged: its structure is not what was written; make it again", path.string());
  }
  const Hdf5Silence silence;
  const Hdf5Reader reader(path_);
  if (seal == Seal::kNone) reader.expect_end();
  const int64_t version = reader.integer_attributes("format_version", 1)[0];
  if (version != kLatentFormatVersion) {
    reader.fail("format_version", "is {}, this program reads {}", version, kLatentFormatVersion);
  }
  info_.has_latents = reader.has("/latents");
  info_.text_encoder = reader.text_attribute(reader.file(), "text_encoder");
  info_.text_encoder_hash = reader.text_attribute(reader.file(), "text_encoder_hash");
  read_clip_attributes(reader);
  if (reader.has_attribute("origin")) info_.origin = reader.text_attribute(reader.file(), "origin");
  if (reader.has_attribute("job")) {
    part_.emplace();
    part_->job = reader.text_attribute(reader.file(), "job");
    const std::vector<int64_t> videos = reader.integer_attributes("videos", 2);
    part_->first_video = videos[0];
    part_->end_video = videos[1];
    if (reader.has("/skipped")) {
      const std::vector<std::string> pairs = reader.strings("/skipped");
      for (size_t i = 0; i + 1 < pairs.size(); i += 2)
        part_->skipped.push_back({pairs[i], pairs[i + 1]});
    }
  }

  if (reader.has("/text/empty")) {
    std::vector<int64_t> dims;
    const Hdf5Handle empty = reader.open("/text/empty", dims, 2);
    reader.expect_type(empty, "/text/empty", H5T_FLOAT, 4, "32-bit floats");
    if (dims[0] < 1 || dims[1] < 1) reader.fail("/text/empty", "is empty");
    info_.text_dim = dims[1];
    empty_text_.resize(static_cast<size_t>(dims[0] * dims[1]));
    reader.read(empty, H5T_NATIVE_FLOAT, empty_text_.data(), "/text/empty");
  }
  read_clips(reader);
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail_user("{}: {}", path.string(), std::strerror(errno));
}

void LatentFile::read_clip_attributes(const Hdf5Reader& reader) {
  // A prompt set says all of it, or nothing.
  if (!info_.has_latents && !reader.has_attribute("codec")) return;
  info_.codec = reader.text_attribute(reader.file(), "codec");
  info_.codec_hash = reader.text_attribute(reader.file(), "codec_hash");
  info_.fps = reader.number_attribute("fps");
  const std::vector<int64_t> pixels = reader.integer_attributes("pixel_size", 2);
  info_.pixel_height = pixels[0];
  info_.pixel_width = pixels[1];
  if (reader.has_attribute("pixel_frames")) {
    info_.pixel_frames = reader.integer_attributes("pixel_frames", 1)[0];
  }
  if (info_.has_latents || !reader.has_attribute("clip_shape")) return;
  info_.clip_shape = reader.integer_attributes("clip_shape", 4);
  for (const int64_t size : info_.clip_shape) {
    if (size < 1) reader.fail("clip_shape", "attribute is {}", shape_text(info_.clip_shape));
  }
}

void LatentFile::read_clips(const Hdf5Reader& reader) {
  if (part_ && !reader.has("/captions")) {
    text_rows_ = {0};
    return;  // a part whose videos were all skipped
  }
  const std::vector<std::string> captions = reader.strings("/captions");
  const auto n = static_cast<int64_t>(captions.size());
  if (n == 0) reader.fail("/captions", "holds no clip");

  std::vector<int64_t> dims;
  const Hdf5Handle offsets = reader.open("/text/offsets", dims, 1);
  if (dims[0] != n + 1)
    reader.fail("/text/offsets", "has {} entries, must have {} (clips + 1)", dims[0], n + 1);
  text_rows_.resize(static_cast<size_t>(n + 1));
  reader.expect_type(offsets, "/text/offsets", H5T_INTEGER, 8, "64-bit integers");
  reader.read(offsets, H5T_NATIVE_INT64, text_rows_.data(), "/text/offsets");
  if (text_rows_[0] != 0)
    reader.fail("/text/offsets", "must start with 0, found {}", text_rows_[0]);
  for (size_t i = 0; i + 1 < text_rows_.size(); ++i) {
    if (text_rows_[i + 1] <= text_rows_[i])
      reader.fail("/text/offsets", "must grow; entry {} does not", i + 1);
  }

  const Hdf5Handle text = reader.open("/text/embeddings", dims, 2);
  reader.expect_type(text, "/text/embeddings", H5T_FLOAT, 4, "32-bit floats");
  if (info_.text_dim == 0) info_.text_dim = dims[1];
  if (dims[0] != text_rows_.back() || dims[1] != info_.text_dim) {
    reader.fail("/text/embeddings",
                "is [{}, {}], must be [{}, {}] (/text/offsets, /text/empty)",
                dims[0],
                dims[1],
                text_rows_.back(),
                info_.text_dim);
  }
  text_offset_ = H5Dget_offset(text);
  if (text_offset_ == HADDR_UNDEF) {
    // Chunked, as other writers may leave it: held in memory.
    text_.resize(static_cast<size_t>(dims[0] * dims[1]));
    reader.read(text, H5T_NATIVE_FLOAT, text_.data(), "/text/embeddings");
  } else if (text_offset_ + static_cast<uint64_t>(dims[0] * dims[1]) * 4 > reader.file_bytes()) {
    reader.fail("/text/embeddings", "reaches beyond the end of the file; it is truncated");
  }

  read_sources(reader, captions);
  locate_blocks(reader, n);
}

void LatentFile::read_sources(const Hdf5Reader& reader, const std::vector<std::string>& captions) {
  if (!info_.has_latents) {  // prompts come from no video
    for (size_t i = 0; i < captions.size(); ++i)
      clips_.push_back({captions[i], "", 0, text_rows_[i + 1] - text_rows_[i]});
    return;
  }
  struct Source {
    char* file;
    int64_t first_frame;
  };
  std::vector<int64_t> dims;
  const Hdf5Handle set = reader.open("/source", dims, 1);
  if (dims[0] != static_cast<int64_t>(captions.size())) {
    reader.fail("/source", "has {} entries, must have {} (clips)", dims[0], captions.size());
  }
  reader.expect_type(set, "/source", H5T_COMPOUND, 0, "pairs (file, first_frame)");
  const Hdf5Handle text = hdf5_string_type();
  const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Source)), H5Tclose);
  H5Tinsert(type, "file", HOFFSET(Source, file), text);
  H5Tinsert(type, "first_frame", HOFFSET(Source, first_frame), H5T_NATIVE_INT64);
  std::vector<Source> sources(captions.size(), Source{nullptr, 0});
  reader.read(set, type, sources.data(), "/source");
  for (size_t i = 0; i < captions.size(); ++i) {
    clips_.push_back({captions[i],
                      sources[i].file == nullptr ? "" : sources[i].file,
                      sources[i].first_frame,
                      text_rows_[i + 1] - text_rows_[i]});
  }
  const Hdf5Handle space(H5Dget_space(set), H5Sclose);
  H5Dvlen_reclaim(type, space, H5P_DEFAULT, sources.data());
}

void LatentFile::locate_blocks(const Hdf5Reader& reader, int64_t n) {
  if (info_.has_latents) {
    latents_ = locate_clip_array(reader, "/latents", 4, n, false);
    info_.clip_shape = latents_.shape;
  }
  if (!reader.has("/ode")) return;
  if (!info_.has_latents) {
    reader.fail("/ode", "there is no /latents; ODE pairs need the clips they belong to");
  }
  ode_ = locate_clip_array(reader, "/ode", 5, n, true);
  info_.ode_fp32 = ode_.fp32;
  if (!std::equal(ode_.shape.begin() + 1, ode_.shape.end(), info_.clip_shape.begin())) {
    reader.fail("/ode",
                "its states are {}, the clips of /latents {}",
                shape_text({ode_.shape.begin() + 1, ode_.shape.end()}),
                shape_text(info_.clip_shape));
  }
  std::vector<int64_t> dims;
  const Hdf5Handle times = reader.open("/ode_times", dims, 1);
  if (dims[0] != ode_.shape[0]) {
    reader.fail("/ode_times", "has {} entries, /ode has {} states", dims[0], ode_.shape[0]);
  }
  reader.expect_type(times, "/ode_times", H5T_FLOAT, 8, "64-bit floats");
  info_.ode_times.resize(static_cast<size_t>(dims[0]));
  reader.read(times, H5T_NATIVE_DOUBLE, info_.ode_times.data(), "/ode_times");
  for (size_t k = 0; k < info_.ode_times.size(); ++k) {
    const double time = info_.ode_times[k];
    const bool falls = k == 0 || time < info_.ode_times[k - 1];
    if (!(time >= 0 && time <= 1000 && falls)) {
      reader.fail(
          "/ode_times", "entry {} is {:g}; timesteps must fall from 1000 at most to 0", k, time);
    }
  }
  if (info_.ode_times.size() < 2 || info_.ode_times.back() != 0) {
    reader.fail("/ode_times", "must have a state before the last, and end with 0, the ODE's end");
  }
}

LatentFile::~LatentFile() {
  if (fd_ >= 0) ::close(fd_);
}

void LatentFile::read_latents(int64_t clip, uint16_t* values) const {
  read_at(latents_.offsets.at(static_cast<size_t>(clip)), values, latents_.bytes, "/latents");
}

void LatentFile::read_ode(int64_t clip, void* values) const {
  read_at(ode_.offsets.at(static_cast<size_t>(clip)), values, ode_.bytes, "/ode");
}

void LatentFile::read_text(int64_t clip, float* rows) const {
  const auto i = static_cast<size_t>(clip);
  const auto first = static_cast<uint64_t>(text_rows_.at(i) * info_.text_dim);
  const auto count = static_cast<uint64_t>((text_rows_.at(i + 1) - text_rows_[i]) * info_.text_dim);
  if (!text_.empty()) {
    std::memcpy(rows, text_.data() + first, count * sizeof(float));
  } else {
    read_at(text_offset_ + first * sizeof(float), rows, count * sizeof(float), "/text/embeddings");
  }
}

void LatentFile::read_at(uint64_t offset, void* into, size_t count, const char* dataset) const {
  auto* at = static_cast<char*>(into);
  while (count > 0) {
    const ssize_t got = pread(fd_, at, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      fail_run("cannot read {} of {}: {}", dataset, path_.string(), std::strerror(errno));
    if (got == 0) fail_user("{}: {}: the file was truncated while in use", path_.string(), dataset);
    at += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
}

}  // namespace vmla::data
