#include "data/video/decoder/frame_source.h"

#include <filesystem>

#include "model/io/error.h"

namespace vmla::data {

std::unique_ptr<FrameSource> open_frame_source(const std::string& path) {
  const FileHead head = read_file_head(path);
  if (head.kind == FileHead::Kind::kFileList) {
    fail_user("a list of other files by its first bytes, not a video; give those files themselves");
  }
  const bool is_y4m = std::filesystem::path(path).extension() == ".y4m";
  if (is_y4m || head.kind == FileHead::Kind::kY4m) return open_y4m_source(path);
#ifdef VMLA_HAVE_OPENCV
  return open_opencv_source(path, head);
#else
  fail_user("this build has no OpenCV and reads videos as .y4m only");
#endif
}

}  // namespace vmla::data
