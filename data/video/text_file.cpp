#include "data/video/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "model/io/error.h"

namespace vmla::data {
namespace {

/// Bytes of the UTF-8 character that `text` starts with; 0 if it starts with none (RFC 3629: no
/// longer form than needed, no surrogates, nothing above U+10FFFF).
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0};
  };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xC2 && first < 0xE0   ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool longer_than_needed =
      (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool no_character = (first == 0xED && byte(1) > 0x9F) || (first == 0xF4 && byte(1) > 0x8F);
  return longer_than_needed || no_character ? 0 : length;
}

/// Closes a descriptor at the end of the scope.
struct Descriptor {
  int fd;
  ~Descriptor() { close(fd); }
};

/// The bytes of a regular file.
std::string read_bytes(const std::filesystem::path& path, uint64_t most_bytes) {
  // Without O_NONBLOCK a pipe would be waited for until somebody writes to it.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status = {};
  if (file.fd < 0 || fstat(file.fd, &status) != 0) {
    fail_user("{}: cannot be read: {}", path.string(), std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    fail_user("{}: is no regular file; give a text file", path.string());
  }
  const auto size = static_cast<uint64_t>(std::max<off_t>(status.st_size, 0));
  if (size > most_bytes) {
    fail_user("{}: has {} bytes, a text of this kind at most {}", path.string(), size, most_bytes);
  }
  // One byte more than the size: a file that grows meanwhile is read no further than that.
  std::string bytes(size + 1, '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t got = read(file.fd, bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_user("{}: cannot be read: {}", path.string(), std::strerror(errno));
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

}  // namespace

void check_text(std::string_view text, const std::string& where) {
  size_t line = 1, column = 1, line_begin = 0;
  for (size_t at = 0; at < text.size(); ++column) {
    const size_t bytes = character_bytes(text.substr(at, 4));
    if (bytes == 0 || text[at] == '\0') {
      fail_user("{}: line {}, column {} (byte {} of the line): 0x{:02x} {}",
                where,
                line,
                column,
                at - line_begin + 1,
                static_cast<uint8_t>(text[at]),
                bytes == 0 ? "is no UTF-8; save the file as UTF-8" : "is no text; remove it");
    }
    if (text[at] == '\n') {
      ++line;
      column = 0;
      line_begin = at + 1;
    }
    at += bytes;
  }
}

std::string read_text(const std::filesystem::path& path, uint64_t most_bytes) {
  std::string text = read_bytes(path, most_bytes);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    fail_user("{}: begins with 0x{:02x} 0x{:02x}, as UTF-16 does; save the file as UTF-8",
              path.string(),
              static_cast<uint8_t>(text[0]),
              static_cast<uint8_t>(text[1]));
  }
  // Spreadsheets and Windows' editor write a byte order mark, which belongs to no line.
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  check_text(text, path.string());
  return text;
}

}  // namespace vmla::data
