#include "data/store/latent_file_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "data/store/latent_layout.h"
#include "model/io/fault_hook.h"

namespace vmla::data {

LatentFileWriter::LatentFileWriter(const std::filesystem::path& path,
                                   const LatentInfo& info,
                                   const std::vector<ClipRecord>& clips,
                                   const std::vector<float>& empty_text,
                                   const std::optional<PartInfo>& part)
    : path_(path),
      text_dim_(info.text_dim),
      places_(lay_out_latent_file(path, info, clips, empty_text, part)),
      digests_(clips.size(), places_.latents.bytes > 0, places_.ode.bytes > 0) {
  fd_ = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd_ < 0) io::fail_io("write", path_, errno);
}

LatentFileWriter::~LatentFileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void LatentFileWriter::write_latents(int64_t clip, const uint16_t* values) {
  const ClipArray& latents = places_.latents;
  write_at(latents.offsets.at(static_cast<size_t>(clip)), values, latents.bytes);
  digests_.set(ClipNumbers::kLatents, static_cast<size_t>(clip), values, latents.bytes);
}

void LatentFileWriter::write_ode(int64_t clip, const void* values) {
  const ClipArray& ode = places_.ode;
  write_at(ode.offsets.at(static_cast<size_t>(clip)), values, ode.bytes);
  digests_.set(ClipNumbers::kOde, static_cast<size_t>(clip), values, ode.bytes);
}

void LatentFileWriter::write_text(int64_t clip, const float* rows) {
  const auto i = static_cast<size_t>(clip);
  const std::vector<int64_t>& first_row = places_.text_rows;
  const auto row_bytes = static_cast<uint64_t>(text_dim_) * sizeof(float);
  const auto count = static_cast<uint64_t>(first_row.at(i + 1) - first_row.at(i));
  const uint64_t offset = places_.text_offset + static_cast<uint64_t>(first_row[i]) * row_bytes;
  write_at(offset, rows, count * row_bytes);
  digests_.set(ClipNumbers::kText, i, rows, count * row_bytes);
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
  const auto text_bytes =
      static_cast<uint64_t>(places_.text_rows.back() * text_dim_) * sizeof(float);
  std::vector<ByteRange> numbers = {{places_.text_offset, places_.text_offset + text_bytes}};
  for (const ClipArray* array : {&places_.latents, &places_.ode}) {
    for (const uint64_t offset : array->offsets) {
      numbers.emplace_back(offset, offset + array->bytes);
    }
  }
  const std::string digests = digests_.bytes();
  write_at(std::filesystem::file_size(path_), digests.data(), digests.size());
  const std::string seal = make_seal(path_, std::move(numbers));
  write_at(std::filesystem::file_size(path_), seal.data(), seal.size());
  if (::close(std::exchange(fd_, -1)) != 0) io::fail_io("write", path_, errno);
}

}  // namespace vmla::data
