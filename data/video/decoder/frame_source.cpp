#include "data/video/decoder/frame_source.h"

#include <filesystem>

#include "model/io/error.h"

namespace vmla::data {

std::unique_ptr<FrameSource> open_frame_source(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail_user("no such file");
  if (!fs::is_regular_file(status)) fail_user("not a regular file");
  if (fs::file_size(path, error) == 0) fail_user("the file is empty");
  if (fs::path(path).extension() == ".y4m") return open_y4m_source(path);
#ifdef VMLA_HAVE_OPENCV
  return open_opencv_source(path);
#else
  fail_user("this build has no OpenCV and reads videos as .y4m only");
#endif
}

}  // namespace vmla::data
