#include "data/store/latent_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/io/error.h"

namespace vmla::data {

LatentFile::LatentFile(const std::filesystem::path& path)
    : path_(path), index_(read_latent_index(path)) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) fail_user("{}: {}", path.string(), std::strerror(errno));
}

LatentFile::~LatentFile() {
  if (fd_ >= 0) ::close(fd_);
}

void LatentFile::read_latents(int64_t clip, uint16_t* values) const {
  const ClipArray& latents = index_.places.latents;
  read_at(latents.offsets.at(static_cast<size_t>(clip)), values, latents.bytes, "/latents");
}

void LatentFile::read_ode(int64_t clip, void* values) const {
  const ClipArray& ode = index_.places.ode;
  read_at(ode.offsets.at(static_cast<size_t>(clip)), values, ode.bytes, "/ode");
}

void LatentFile::read_text(int64_t clip, float* rows) const {
  const auto row = static_cast<uint64_t>(index_.places.text_rows.at(static_cast<size_t>(clip)));
  const auto dim = static_cast<uint64_t>(index_.info.text_dim);
  const auto count =
      static_cast<uint64_t>(index_.clips.at(static_cast<size_t>(clip)).text_rows) * dim;
  if (!index_.text.empty()) {
    std::memcpy(rows, index_.text.data() + row * dim, count * sizeof(float));
  } else {
    const uint64_t offset = index_.places.text_offset + row * dim * sizeof(float);
    read_at(offset, rows, count * sizeof(float), "/text/embeddings");
  }
}

void LatentFile::read_at(uint64_t offset, void* into, size_t count, const char* dataset) const {
  auto* at = static_cast<char*>(into);
  while (count > 0) {
    const ssize_t got = pread(fd_, at, count, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fail_run("cannot read {} of {}: {}", dataset, path_.string(), std::strerror(errno));
    }
    if (got == 0) fail_user("{}: {}: the file was truncated while in use", path_.string(), dataset);
    at += got;
    offset += static_cast<uint64_t>(got);
    count -= static_cast<size_t>(got);
  }
}

}  // namespace vmla::data
