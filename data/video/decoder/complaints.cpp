#include "data/video/decoder/complaints.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace vmla::data {
namespace {

/// More than FFmpeg prints about one picture.
constexpr off_t kMostUnread = off_t{1} << 20;

/// A function of FFmpeg's. FFmpeg is OpenCV's affair, so its headers need not be here; these two
/// functions, and the first three members of a codec, are as old as its decoders. Null where OpenCV
/// has no FFmpeg.
template <class Function>
Function ffmpeg_function(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

/// True if `who` is a decoder of pictures or a reader of containers. A video with damaged sound is
/// as good as one without: what decoders of sound and subtitles say does not count, and neither do
/// parsers and others, since what they find about pictures the decoder finds too.
bool is_about_pictures(const std::string& who) {
  struct Codec {
    const char* name;
    const char* long_name;
    int type;  // AVMediaType: 0 is video
  };
  static const auto find_decoder =
      ffmpeg_function<const Codec* (*)(const char*)>("avcodec_find_decoder_by_name");
  static const auto find_container =
      ffmpeg_function<const void* (*)(const char*)>("av_find_input_format");
  if (find_decoder == nullptr || find_container == nullptr) return true;
  if (const Codec* codec = find_decoder(who.c_str())) return codec->type == 0;
  // A container with several names ("matroska,webm") is found by each of them.
  return find_container(who.substr(0, who.find(',')).c_str()) != nullptr;
}

/// What a line such as "[h264 @ 0x55d0] error while decoding MB 3 4" says about pictures; empty for
/// OpenCV's own lines and those about sound.
std::string complaint_of(std::string_view line) {
  const size_t address = line.find(" @ 0x");
  const size_t close = line.find("] ", address == std::string_view::npos ? 0 : address);
  if (line.empty() || line[0] != '[' || address == std::string_view::npos ||
      close == std::string_view::npos) {
    return {};
  }
  const std::string who(line.substr(1, address - 1));
  return is_about_pictures(who) ? who + ": " + std::string(line.substr(close + 2)) : "";
}

}  // namespace

Complaints::Complaints() : fd_(memfd_create("stderr", MFD_CLOEXEC)) {
  if (fd_ < 0) return;
  fcntl(fd_, F_SETFL, O_APPEND);  // so that what follows clear() does not leave a hole
  dup2(fd_, STDERR_FILENO);
}

std::string Complaints::first() {
  struct stat status = {};
  if (fd_ < 0 || !found_.empty() || fstat(fd_, &status) != 0) return found_;
  while (looked_at_ < status.st_size) {
    std::string text(static_cast<size_t>(std::min<off_t>(status.st_size - looked_at_, 65536)),
                     '\0');
    const ssize_t got = pread(fd_, text.data(), text.size(), looked_at_);
    if (got <= 0) break;
    std::string_view rest(text.data(), static_cast<size_t>(got));
    size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
      if (got < 65536) break;  // the rest of the line is to come
      end = rest.size() - 1;   // no line of FFmpeg's is that long
    }
    for (; end != std::string_view::npos; end = rest.find('\n')) {
      found_ = complaint_of(rest.substr(0, end));
      looked_at_ += static_cast<off_t>(end) + 1;
      if (!found_.empty()) return found_;
      rest.remove_prefix(end + 1);
    }
  }
  // Sound that is damaged all along must not fill the memory.
  if (looked_at_ == status.st_size && looked_at_ > kMostUnread && ftruncate(fd_, 0) == 0) {
    looked_at_ = 0;
  }
  return {};
}

void Complaints::clear() {
  found_.clear();
  if (fd_ >= 0 && ftruncate(fd_, 0) == 0) looked_at_ = 0;
}

}  // namespace vmla::data
