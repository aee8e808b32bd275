#include "data/video/decoder/file_head.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "model/io/error.h"

namespace vmla::data {
namespace {

/// Texts that name other files to read instead: HLS, DASH, SMIL and IMF, concatenation lists of
/// FFmpeg, PLS, SDP and RTSP. In lower case.
constexpr std::array<std::string_view, 9> kListMarks = {
    "#extm3u", "ffconcat", "<?xml", "<mpd", "<smil", "<asx", "[playlist]", "v=0", "rtsptext"};

/// An EBML number (RFC 8794, 4): the count of leading zero bits says how many bytes follow the
/// first. 0 if it ends beyond `head` or is unknown (all bits set, as live streams have).
uint64_t ebml_number(std::string_view head, size_t& at) {
  if (at >= head.size()) return 0;
  const auto first = static_cast<uint8_t>(head[at]);
  size_t bytes = 1;
  while (bytes <= 8 && (first & (0x80u >> (bytes - 1))) == 0) ++bytes;
  if (bytes > 8 || at + bytes > head.size()) return 0;
  uint64_t value = first & (0xFFu >> bytes);
  for (size_t i = 1; i < bytes; ++i) value = value << 8 | static_cast<uint8_t>(head[at + i]);
  at += bytes;
  return value == (uint64_t{1} << (7 * bytes)) - 1 ? 0 : value;
}

/// Where a Matroska file ends as its segment says: behind the EBML header stand the segment's
/// identifier and its size. 0 if the head does not tell.
uint64_t matroska_end(std::string_view head) {
  size_t at = 4;
  const uint64_t header = ebml_number(head, at);
  if (header == 0 || header > head.size() || at + header + 4 > head.size()) return 0;
  at += header;
  if (head.substr(at, 4) != "\x18\x53\x80\x67") return 0;
  at += 4;
  const uint64_t segment = ebml_number(head, at);
  return segment == 0 ? 0 : at + segment;
}

bool is_file_list(std::string_view head) {
  if (head.starts_with("\xEF\xBB\xBF")) head.remove_prefix(3);
  head.remove_prefix(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  std::string start(head.substr(0, 16));
  for (char& c : start) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::ranges::any_of(kListMarks, [&](auto mark) { return start.starts_with(mark); });
}

FileHead::Kind kind_of(std::string_view head) {
  using Kind = FileHead::Kind;
  if (head.starts_with("YUV4MPEG2 ")) return Kind::kY4m;
  if (head.starts_with("\x1A\x45\xDF\xA3")) return Kind::kMatroska;
  if (head.starts_with("\x06\x0E\x2B\x34")) return Kind::kMxf;
  if (head.starts_with("RIFF") && head.substr(0, 12).ends_with("AVI ")) return Kind::kAvi;
  if (head.size() >= 8) {
    const std::string_view box = head.substr(4, 4);
    for (const std::string_view known : {"ftyp", "moov", "mdat", "wide", "free", "skip", "pnot"}) {
      if (box == known) return Kind::kMp4;
    }
  }
  return is_file_list(head) ? Kind::kFileList : Kind::kOther;
}

}  // namespace

FileHead read_file_head(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT) fail_user("no such file");
    // Of a socket, open says this instead.
    if (errno == ENXIO) fail_user("not a regular file");
    fail_user("cannot be opened: {}", std::strerror(errno));
  }
  struct stat status = {};
  const bool known = fstat(fd, &status) == 0;
  const bool is_file = known && S_ISREG(status.st_mode);
  std::array<char, 4096> bytes;
  const ssize_t got = is_file ? pread(fd, bytes.data(), bytes.size(), 0) : 0;
  const int problem = errno;
  close(fd);
  if (!is_file) fail_user("not a regular file");
  if (got < 0) fail_user("cannot be read: {}", std::strerror(problem));
  if (got == 0) fail_user("the file is empty");
  const std::string_view head(bytes.data(), static_cast<size_t>(got));
  FileHead found{.kind = kind_of(head), .file_bytes = static_cast<uint64_t>(status.st_size)};
  if (found.kind == FileHead::Kind::kMatroska) found.promised_bytes = matroska_end(head);
  return found;
}

}  // namespace vmla::data
