#pragma once

#include "data/video/video_folder.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

namespace vmla::fuzz {

/// Lists a folder of two videos, a.mp4 and sub/b.mp4, whose captions are in the file `name`.
inline int list_with_captions(const std::string& name, const uint8_t* data, size_t size) {
  static const FuzzFolder folder;
  static const bool made = [] {
    std::filesystem::create_directory(folder.path() / "sub");
    folder.write("a.mp4", "a");
    folder.write("sub/b.mp4", "b");
    return true;
  }();
  (void)made;
  folder.write(name, as_text(data, size));
  accepts([&] {
    for (const data::VideoEntry& video : data::list_videos(folder.path())) {
      expect(!video.file.empty(), "every video has a name");
    }
  });
  return 0;
}

}  // namespace vmla::fuzz
