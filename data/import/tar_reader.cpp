#include "data/import/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <limits>

#include "model/io/error.h"
#include "model/io/quoted_name.h"

namespace vmla::data {
namespace {

constexpr uint64_t kBlock = 512;  // a tar's unit: heads and contents begin at multiples of it

/// The name's bytes: as UTF-8 where the archive says what they mean, else as they lie.
std::string name_of(archive_entry* entry) {
  if (const char* name = archive_entry_pathname_utf8(entry)) return name;
  if (const char* name = archive_entry_pathname(entry)) return name;
  return {};
}

uint64_t product(uint64_t a, uint64_t b) {
  return a > std::numeric_limits<uint64_t>::max() / b ? std::numeric_limits<uint64_t>::max()
                                                      : a * b;
}

}  // namespace

void TarReader::Closer::operator()(archive* opened) const {
  archive_read_free(opened);
}

void TarReader::fail(const std::string& what) const {
  fail_user("{}: {}", path_, what);
}

/// What libarchive says; it quotes names of the file.
std::string TarReader::complaint() const {
  const char* said = archive_error_string(archive_.get());
  return said ? io::printable(said) : "no reason given";
}

/// Bytes of the tar, unpacked, that are behind us.
uint64_t TarReader::position() const {
  return static_cast<uint64_t>(std::max<int64_t>(archive_filter_bytes(archive_.get(), 0), 0));
}

TarReader::TarReader(const std::filesystem::path& path)
    : path_(path.string()), file_(path), archive_(archive_read_new()) {
  archive* const opened = archive_.get();
  if (file_.size() == 0) fail("is empty, and no tar file");
  if (!opened || archive_read_support_format_tar(opened) != ARCHIVE_OK ||
      archive_read_support_filter_gzip(opened) != ARCHIVE_OK ||
      archive_read_support_filter_zstd(opened) != ARCHIVE_OK) {
    fail_run("{}: libarchive cannot read tar files with gzip and zstd here", path_);
  }
  if (archive_read_open_memory(opened, file_.data(), file_.size()) != ARCHIVE_OK)
    fail("is no tar file: " + complaint());
  const bool compressed = archive_filter_count(opened) > 1;
  most_bytes_ =
      compressed ? std::max(product(file_.size(), kMostGrowth), kAlwaysAllowed) : file_.size();
}

TarReader::~TarReader() = default;

void TarReader::check_end() const {
  const uint64_t padded = (data_end_ + kBlock - 1) / kBlock * kBlock;
  if (position() < padded + kBlock) fail("truncated: the mark of a tar's end is missing");
}

std::optional<TarMember> TarReader::next() {
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(archive_.get(), &entry);
  if (status == ARCHIVE_EOF) {
    check_end();
    return std::nullopt;
  }
  // A warning is about a name in another character set, or a field that nobody here looks at.
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
    fail("is no tar file, or a damaged or truncated one: " + complaint());
  TarMember member{.name = name_of(entry),
                   .bytes = static_cast<uint64_t>(std::max<int64_t>(archive_entry_size(entry), 0)),
                   .is_file = archive_entry_filetype(entry) == AE_IFREG &&
                              archive_entry_hardlink(entry) == nullptr};
  if (archive_entry_sparse_count(entry) > 0)
    fail(formatted("{} is stored with holes; write it without", io::quoted_name(member.name)));
  const uint64_t begin = position();
  if (begin > most_bytes_ || member.bytes > most_bytes_ - begin) {
    fail(
        formatted("truncated, damaged or too far compressed: {} has {} bytes from {} on, and the "
                  "file at most {}",
                  io::quoted_name(member.name),
                  member.bytes,
                  begin,
                  most_bytes_));
  }
  member_bytes_ = member.bytes;
  data_end_ = begin + member.bytes;
  return member;
}

std::string TarReader::content() {
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  std::string content;
  // Piece by piece: a compressed file can claim a size and end long before.
  while (content.size() < member_bytes_) {
    const uint64_t have = content.size(), want = std::min(kPiece, member_bytes_ - have);
    content.resize(have + want);
    const auto got = archive_read_data(archive_.get(), content.data() + have, want);
    if (got < 0) fail("damaged or truncated: " + complaint());
    if (got == 0) fail("truncated: it ends within a member");
    content.resize(have + static_cast<uint64_t>(got));
  }
  return content;
}

}  // namespace vmla::data
