#pragma once

#include <cstdint>

/// What the job and its process vmla-decode say to each other over a pipe, both compiled together
/// for one machine. The process takes requests on stdin, one after another, and answers on stdout:
///   kRead:  kOpened, any number of kFrame, then kEnd; or kFailed at any point instead.
///   kWrite: the request is followed by frames, each behind a kMore word, and a kNoMore word; then
///   one kEnd or kFailed.
namespace vmla::data {

enum class RequestKind : uint32_t { kRead = 1, kWrite = 2 };

/// Followed by `path_bytes` bytes of path. Frames are [height, width, 3] bytes, RGB.
struct VideoRequest {
  RequestKind kind;
  uint32_t path_bytes;
  uint32_t height, width;  // reading: after aspect-preserving resize and centre crop
  double fps;              // reading: after resampling in time
  uint64_t max_frames;     // reading; 0: all
};

inline constexpr uint32_t kMore = 1, kNoMore = 0;

enum class ReplyKind : uint32_t {
  kOpened = 1,  // VideoInfo
  kFrame = 2,   // height·width·3 bytes
  kEnd = 3,     // text: empty, or what is wrong with the rest of the video
  kFailed = 4,  // text: why nothing can be read (or written)
};

struct ReplyHeader {
  ReplyKind kind;
  uint32_t bytes;  // of what follows
};

struct VideoInfo {
  uint32_t height, width;  // of the file, after its rotation flag
  double fps;
  double seconds;  // as the container claims; 0 if it does not
};

}  // namespace vmla::data
