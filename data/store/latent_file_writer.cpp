#include "data/store/latent_file_writer.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <numeric>
#include <string>

#include "data/store/file_seal.h"
#include "data/store/hdf5_layout.h"
#include "model/io/error.h"
#include "model/io/fault_hook.h"

namespace vmla::data {
namespace fs = std::filesystem;

namespace {

/// /source: a compound of a file name and its first frame.
void write_sources(Hdf5Layout& layout, const std::vector<ClipRecord>& clips) {
  struct Source {
    const char* file;
    int64_t first_frame;
  };
  const Hdf5Handle text = hdf5_string_type();
  const Hdf5Handle type(H5Tcreate(H5T_COMPOUND, sizeof(Source)), H5Tclose);
  H5Tinsert(type, "file", HOFFSET(Source, file), text);
  H5Tinsert(type, "first_frame", HOFFSET(Source, first_frame), H5T_NATIVE_INT64);
  std::vector<Source> sources;
  for (const ClipRecord& clip : clips)
    sources.push_back({clip.source_file.c_str(), clip.first_frame});
  const Hdf5Handle set = layout.dataset("/source", type, {sources.size()}, false);
  layout.fill(set, type, sources.data(), "/source");
}

void write_attributes(Hdf5Layout& layout,
                      hid_t file,
                      const LatentInfo& info,
                      const std::optional<PartInfo>& part) {
  const Hdf5Handle root(H5Gopen2(file, "/", H5P_DEFAULT), H5Gclose);
  layout.attribute(root, "format_version", kLatentFormatVersion);
  if (info.has_latents || !info.codec.empty()) {
    layout.attribute(root, "codec", info.codec);
    layout.attribute(root, "codec_hash", info.codec_hash);
    layout.attribute(root, "fps", info.fps);
    layout.attribute(root, "pixel_size", std::vector<int64_t>{info.pixel_height, info.pixel_width});
    layout.attribute(root, "pixel_frames", info.pixel_frames);
    if (!info.has_latents && !info.clip_shape.empty())
      layout.attribute(root, "clip_shape", info.clip_shape);
  }
  layout.attribute(root, "text_encoder", info.text_encoder);
  layout.attribute(root, "text_encoder_hash", info.text_encoder_hash);
  if (!info.origin.empty()) layout.attribute(root, "origin", info.origin);
  if (part) {
    layout.attribute(root, "job", part->job);
    layout.attribute(root, "videos", std::vector<int64_t>{part->first_video, part->end_video});
    std::vector<std::string> skipped;
    for (const SkippedVideo& video : part->skipped) {
      skipped.push_back(video.file);
      skipped.push_back(video.reason);
    }
    if (!skipped.empty()) layout.strings("/skipped", skipped);
  }
}

/// A dataset of `n` blocks, one chunk each, and their places in the file.
void lay_out_blocks(Hdf5Layout& layout, const char* name, hsize_t n, ClipArray& array) {
  std::vector<hsize_t> dims = {n};
  for (const int64_t size : array.shape) dims.push_back(static_cast<hsize_t>(size));
  const Hdf5Handle set =
      layout.dataset(name, array.fp32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_UINT16, dims, true);
  if (!array.fp32) layout.attribute(set, "dtype", std::string("bfloat16"));
  for (hsize_t i = 0; i < n; ++i) {
    std::vector<hsize_t> corner(dims.size(), 0);
    corner[0] = i;
    haddr_t address = HADDR_UNDEF;
    hsize_t size = 0;
    unsigned filters = 0;
    const herr_t got = H5Dget_chunk_info_by_coord(set, corner.data(), &filters, &address, &size);
    layout.check(got >= 0 && address != HADDR_UNDEF && size == array.bytes, name);
    array.offsets.push_back(address);
  }
}

/// Makes the file system set the file's bytes aside, or fails before HDF5 writes one: HDF5 neither
/// reports a full disk in one line nor survives it (it crashes at the program's end). File systems
/// that cannot do it are asked for their free space instead.
void reserve(const fs::path& path, uint64_t bytes) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) io::fail_io("write", path, errno);
  int problem = fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  struct statvfs disk;
  if (problem == EOPNOTSUPP) {
    const bool known = fstatvfs(fd, &disk) == 0;
    problem = known && uint64_t{disk.f_bavail} * disk.f_frsize < bytes ? ENOSPC : 0;
  }
  close(fd);
  // fail_io knows the name the file is going to have.
  if (problem != 0) io::fail_io(formatted("write the {} MiB of", (bytes >> 20) + 1), path, problem);
}

/// Once more for the empty file that HDF5 has just made in its place, so that nobody else takes the
/// room meanwhile.
void keep_reserved(const fs::path& path, uint64_t bytes) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) io::fail_io("write", path, errno);
  const int problem =
      fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  close(fd);
  if (problem != 0 && problem != EOPNOTSUPP) io::fail_io("write", path, problem);
}

}  // namespace

LatentFileWriter::LatentFileWriter(const fs::path& path,
                                   const LatentInfo& info,
                                   const std::vector<ClipRecord>& clips,
                                   const std::vector<float>& empty_text,
                                   const std::optional<PartInfo>& part)
    : path_(path), text_dim_(info.text_dim), text_rows_(clips.size() + 1, 0) {
  uint64_t text_bytes = 0;
  for (size_t i = 0; i < clips.size(); ++i) {
    text_rows_[i + 1] = text_rows_[i] + clips[i].text_rows;
    text_bytes += clips[i].caption.size() + clips[i].source_file.size();
  }
  const auto n = static_cast<hsize_t>(clips.size());
  if (info.has_latents && n > 0) {
    latents_.shape = info.clip_shape;
    latents_.bytes = block_bytes(latents_.shape, latents_.fp32);
    if (!info.ode_times.empty()) {
      ode_.shape = info.clip_shape;
      ode_.shape.insert(ode_.shape.begin(), static_cast<int64_t>(info.ode_times.size()));
      ode_.fp32 = info.ode_fp32;
      ode_.bytes = block_bytes(ode_.shape, ode_.fp32);
    }
  }
  const auto rows = static_cast<uint64_t>(text_rows_.back());
  // Structure: at most some 300 bytes a clip (chunk index, string references) and half as much for
  // ODE states, 64 KiB otherwise.
  const uint64_t structure = ode_.bytes > 0 ? 768 : 512;
  const uint64_t bytes = (latents_.bytes + ode_.bytes) * n +
                         4 * rows * static_cast<uint64_t>(text_dim_) + 2 * text_bytes +
                         structure * n + (1u << 16);
  reserve(path, bytes);

  const Hdf5Silence silence;
  // Should a write fail all the same: the clean-up at the program's end crashes then, and every
  // handle here is closed by its owner anyway.
  H5dont_atexit();
  Hdf5Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  Hdf5Layout layout(path_, file);
  layout.check(file.valid(), "the header");
  keep_reserved(path, bytes);
  write_attributes(layout, file, info, part);
  const auto text_dim = static_cast<hsize_t>(text_dim_);
  layout.fill(layout.dataset(
                  "/text/empty", H5T_NATIVE_FLOAT, {empty_text.size() / text_dim, text_dim}, false),
              H5T_NATIVE_FLOAT,
              empty_text.data(),
              "/text/empty");
  if (n > 0) lay_out_clips(layout, info, clips);
  layout.check(H5Fflush(file, H5F_SCOPE_LOCAL) >= 0 && file.reset(), "the structure");
  fd_ = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd_ < 0) io::fail_io("write", path_, errno);
}

void LatentFileWriter::lay_out_clips(Hdf5Layout& layout,
                                     const LatentInfo& info,
                                     const std::vector<ClipRecord>& clips) {
  const hsize_t n = clips.size(), rows = static_cast<hsize_t>(text_rows_.back());
  const auto text_dim = static_cast<hsize_t>(text_dim_);
  std::vector<std::string> captions;
  for (const ClipRecord& clip : clips) captions.push_back(clip.caption);
  layout.strings("/captions", captions);
  if (info.has_latents) write_sources(layout, clips);
  const Hdf5Handle offsets = layout.dataset("/text/offsets", H5T_NATIVE_INT64, {n + 1}, false);
  layout.fill(offsets, H5T_NATIVE_INT64, text_rows_.data(), "/text/offsets");
  const Hdf5Handle text =
      layout.dataset("/text/embeddings", H5T_NATIVE_FLOAT, {rows, text_dim}, false);
  text_offset_ = H5Dget_offset(text);
  layout.check(text_offset_ != HADDR_UNDEF, "/text/embeddings");
  if (latents_.bytes > 0) lay_out_blocks(layout, "/latents", clips.size(), latents_);
  if (ode_.bytes > 0) {
    lay_out_blocks(layout, "/ode", clips.size(), ode_);
    const std::vector<double>& times = info.ode_times;
    const Hdf5Handle set = layout.dataset("/ode_times", H5T_NATIVE_DOUBLE, {times.size()}, false);
    layout.fill(set, H5T_NATIVE_DOUBLE, times.data(), "/ode_times");
  }
}

LatentFileWriter::~LatentFileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void LatentFileWriter::write_latents(int64_t clip, const uint16_t* values) {
  write_at(latents_.offsets.at(static_cast<size_t>(clip)), values, latents_.bytes);
}

void LatentFileWriter::write_ode(int64_t clip, const void* values) {
  write_at(ode_.offsets.at(static_cast<size_t>(clip)), values, ode_.bytes);
}

void LatentFileWriter::write_text(int64_t clip, const float* rows) {
  const auto i = static_cast<size_t>(clip);
  const auto row_bytes = static_cast<uint64_t>(text_dim_) * sizeof(float);
  const auto count = static_cast<uint64_t>(text_rows_.at(i + 1) - text_rows_.at(i));
  write_at(
      text_offset_ + static_cast<uint64_t>(text_rows_[i]) * row_bytes, rows, count * row_bytes);
}

void LatentFileWriter::write_at(uint64_t offset, const void* bytes, size_t count) {
  if (const int fault = io::injected_fault("write", path_)) io::fail_io("write", path_, fault);
  const auto* at = static_cast<const char*>(bytes);
  while (count > 0) {
    const ssize_t put = pwrite(fd_, at, count, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) io::fail_io("write", path_, put < 0 ? errno : ENOSPC);
    at += put;
    offset += static_cast<uint64_t>(put);
    count -= static_cast<size_t>(put);
  }
}

void LatentFileWriter::close() {
  const uint64_t text_bytes = static_cast<uint64_t>(text_rows_.back() * text_dim_) * sizeof(float);
  std::vector<ByteRange> data = {{text_offset_, text_offset_ + text_bytes}};
  for (const ClipArray& array : {latents_, ode_}) {
    for (const uint64_t offset : array.offsets) data.emplace_back(offset, offset + array.bytes);
  }
  const std::string seal = make_seal(path_, std::move(data));
  write_at(fs::file_size(path_), seal.data(), seal.size());
  if (::close(std::exchange(fd_, -1)) != 0) io::fail_io("write", path_, errno);
}

}  // namespace vmla::data
