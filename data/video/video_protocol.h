#pragma once

#include <cstdint>

/// How the job and its child process vmla-decode talk to each other.
///
/// The child takes requests on stdin and answers on stdout, in the structs below as they lie in
/// memory: both programs are compiled together, for one machine. Its stderr goes nowhere. It gets
/// no arguments, and serves requests one after another until stdin ends; then it exits. Signals
/// that ask a job to stop (SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1) do not end it.
///
/// A request is a VideoRequest and `path_bytes` bytes of an absolute path. An answer is a
/// ReplyHeader and `bytes` bytes of content. Frames are [height, width, 3] bytes, RGB, upright,
/// with the sizes of the request.
///
/// kRead: the job sends nothing more. The child answers kOpened, then a kFrame for each frame, then
///   kEnd. Frame k shows the video at k / fps seconds; the picture is resized to cover height x
///   width without distortion, and its middle is cut out. A picture that would stand still for more
///   than ten seconds ends the video, with a text. The text of kEnd is empty if the whole
///   video was read, else it says what is wrong with the rest. kFailed takes the place of any of
///   these where nothing can be read.
/// kLook: the child answers kOpened and kEnd, or kFailed; no picture is decoded for it.
/// kWrite: the job sends a kMore word and a frame, again and again, and a kNoMore word. It reads
///   nothing meanwhile, so the child must take every frame off the pipe even after a failure, and
///   answers once, after kNoMore: kEnd without a text, or kFailed. What it could not finish it may
///   leave behind: the job gave the path of an unfinished file and removes it.
///
/// The job trusts the child with nothing but its own video. It kills the child (SIGKILL) when an
/// answer takes too long or breaks these rules, or when it wants no more frames, and starts another
/// for the next video. The child must not outlive the job: where a write fails or stdin is closed,
/// it exits, whatever it is at.
namespace vmla::data {

enum class RequestKind : uint32_t { kRead = 1, kWrite = 2, kLook = 3 };

struct VideoRequest {
  RequestKind kind;
  uint32_t path_bytes;
  uint32_t height, width;  // pixels of a frame on the pipe
  double fps;              // reading: of the frames that are sent; writing: of the file
  uint64_t max_frames;     // reading: the most that are sent; 0: all
};
static_assert(sizeof(VideoRequest) == 32);

/// Before each frame, and after the last one.
inline constexpr uint32_t kMore = 1, kNoMore = 0;

enum class ReplyKind : uint32_t {
  kOpened = 1,  // VideoInfo
  kFrame = 2,   // height·width·3 bytes
  kEnd = 3,     // a text, see above
  kFailed = 4,  // a text: why nothing can be read, or written
};

struct ReplyHeader {
  ReplyKind kind;
  uint32_t bytes;  // of the content that follows
};
static_assert(sizeof(ReplyHeader) == 8);

/// A longer text breaks the rules.
inline constexpr uint32_t kMostTextBytes = 1u << 20;

struct VideoInfo {
  uint32_t height, width;  // of the file's pictures, turned upright as the file says
  double fps;
  double seconds;       // as the container claims; 0 if it does not
  double pixel_aspect;  // width of a pixel over its height, as the picture is to be shown
};
static_assert(sizeof(VideoInfo) == 32);

}  // namespace vmla::data
