#pragma once

#include <sys/types.h>

#include <string>

namespace vmla::data {

/// What the video libraries print on stderr: the only place where FFmpeg, behind OpenCV, says that
/// a picture it hands out is damaged.
class Complaints {
 public:
  /// Redirects the process's stderr into memory, until the process ends.
  Complaints();
  /// The first complaint of FFmpeg about pictures since the last clear(), without its prefix; empty
  /// if there was none. Complaints of decoders of sound and subtitles do not count.
  std::string first();
  void clear();

 private:
  int fd_;               // of the memory; stderr is a copy of it
  off_t looked_at_ = 0;  // bytes of it that hold no complaint
  std::string found_;    // since the last clear()
};

}  // namespace vmla::data
