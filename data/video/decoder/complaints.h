#pragma once

#include <string>

namespace vmla::data {

/// What the video libraries print on stderr: the only place where FFmpeg, behind OpenCV, says that
/// a picture it hands out is damaged.
class Complaints {
 public:
  /// Redirects the process's stderr into memory, until the process ends.
  Complaints();
  /// The first complaint of FFmpeg since the last clear(), without its prefix; empty if there was
  /// none.
  std::string first() const;
  void clear();

 private:
  int fd_;  // of the memory; stderr is a copy of it
};

}  // namespace vmla::data
