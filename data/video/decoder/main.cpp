// vmla-decode: decodes and encodes videos on the requests of a job (data/video/video_protocol.h).
// vmla-decode --libraries: prints the version of OpenCV, nothing without it.
//
// It is a process of its own because it reads files from anywhere with large libraries: it may
// crash, hang or run out of memory, and the job loses one video. And OpenCV, which brings a BLAS of
// its own, is never loaded beside LibTorch.
//
// Another video library is another FrameSource and FrameSink here, or another program that keeps to
// the protocol in the place of this one.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "data/video/decoder/frame_sink.h"
#include "data/video/decoder/frame_source.h"
#include "data/video/decoder/resize.h"
#include "data/video/pipe_io.h"
#include "data/video/video_protocol.h"
#include "model/io/error.h"

#ifdef VMLA_HAVE_OPENCV
#include <opencv2/core/version.hpp>
#endif

namespace vmla::data {
namespace {

/// The other end of a pipe is closed: the job is gone, and so must this process be.
struct Disconnected {};

/// The pipe to the job. It is stdout only until take_pipe().
int answers = STDOUT_FILENO;

/// Moves the pipe to the job to a descriptor of its own: OpenCV prints its log on stdout, FFmpeg
/// may be asked to read from stdin, and neither may get at the answers or the requests.
void take_pipe() {
  const int copy = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (copy < 0 || nowhere < 0) return;
  answers = copy;
  dup2(nowhere, STDOUT_FILENO);
  close(nowhere);
}

/// Ends this process when the job is gone, whatever it is at: it has a process group of its own, so
/// nobody else ends it while it waits for a reader or is caught in a damaged file.
void leave_with_job() {
  std::thread([] {
    pollfd requests = {STDIN_FILENO, 0, 0};  // asked for nothing: only the end is reported
    while (poll(&requests, 1, -1) < 0 && errno == EINTR) {
    }
    _exit(1);
  }).detach();
}

void reply(ReplyKind kind, const void* bytes, size_t count) {
  const ReplyHeader header = {kind, static_cast<uint32_t>(count)};
  if (!write_exactly(answers, &header, sizeof header) || !write_exactly(answers, bytes, count)) {
    throw Disconnected();
  }
}

void reply(ReplyKind kind, std::string_view text) {
  reply(kind, text.data(), text.size());
}

/// A picture that is to stand still for longer than this many seconds ends the video. Time stamps
/// that jump are such a picture: a file of 3 kB can claim to last for hours, and all of them would
/// become clips.
constexpr double kLongestStill = 10;

/// Sends the frames at the rate that is asked for: frame k is the source frame nearest to k / fps
/// seconds. The last source frame lasts as long as the one before it, so N frames at the target's
/// own rate stay N frames.
void stream_frames(FrameSource& source, const VideoRequest& request) {
  CoverResize resize(static_cast<int>(request.height), static_cast<int>(request.width));
  std::vector<uint8_t> small(size_t{request.height} * request.width * 3);
  uint64_t sent = 0;
  const auto due = [&] { return static_cast<double>(sent) / request.fps; };
  const auto done = [&] { return request.max_frames != 0 && sent >= request.max_frames; };
  const auto emit = [&](const SourceFrame& frame) {
    resize(frame, source.pixel_aspect(), small.data());
    reply(ReplyKind::kFrame, small.data(), small.size());
    ++sent;
  };

  // A source keeps the pixels of the last two frames, which is what the choice needs.
  SourceFrame previous, current;
  double interval = 1 / request.fps;
  std::string jump;
  while (!done() && source.next(current)) {
    if (previous.pixels != nullptr) {
      const double still = current.seconds - previous.seconds;
      if (!(still <= kLongestStill)) {
        jump = formatted("a picture stands still from {:g} s to {:g} s, and {:g} s is the most",
                         previous.seconds,
                         current.seconds,
                         kLongestStill);
        break;
      }
      interval = still;
      while (!done() && due() <= current.seconds) {
        const bool earlier = due() - previous.seconds <= current.seconds - due();
        emit(earlier ? previous : current);
      }
    }
    previous = current;
  }
  if (previous.pixels == nullptr) {
    const std::string damage = source.damage();
    fail_user("no frame can be decoded{}", damage.empty() ? "" : " (" + damage + ")");
  }
  // 0.8 and not 1: rounded time stamps must not add a frame at the end.
  while (!done() && due() < previous.seconds + 0.8 * interval) emit(previous);
  reply(ReplyKind::kEnd, jump.empty() ? source.damage() : jump);
}

/// Answers kRead and kLook.
void serve_read(const VideoRequest& request, const std::string& path) {
  try {
    const std::unique_ptr<FrameSource> source = open_frame_source(path);
    VideoInfo info = source->info();
    info.pixel_aspect = source->pixel_aspect();
    reply(ReplyKind::kOpened, &info, sizeof info);
    if (request.kind == RequestKind::kLook) {
      reply(ReplyKind::kEnd, "");
    } else {
      stream_frames(*source, request);
    }
  } catch (const std::exception& error) {
    reply(ReplyKind::kFailed, error.what());
  }
}

/// Takes every frame off the pipe even after a failure: the job reads no answer before it has sent
/// all of them, and the next request follows.
void serve_write(const VideoRequest& request, const std::string& path) {
  std::unique_ptr<FrameSink> sink;
  std::string failure;
  const auto guarded = [&](const auto& act) {
    try {
      if (failure.empty()) act();
    } catch (const std::exception& error) {
      failure = error.what();
    }
  };
  guarded([&] {
    sink = open_frame_sink(
        path, static_cast<int>(request.height), static_cast<int>(request.width), request.fps);
  });
  std::vector<uint8_t> frame(size_t{request.height} * request.width * 3);
  for (;;) {
    uint32_t word = kNoMore;
    if (!read_exactly(STDIN_FILENO, &word, sizeof word)) throw Disconnected();
    if (word == kNoMore) break;
    if (!read_exactly(STDIN_FILENO, frame.data(), frame.size())) throw Disconnected();
    guarded([&] { sink->append(frame.data()); });
  }
  guarded([&] { sink->close(); });
  reply(failure.empty() ? ReplyKind::kEnd : ReplyKind::kFailed, failure);
}

void serve() {
  VideoRequest request;
  while (read_exactly(STDIN_FILENO, &request, sizeof request)) {
    std::string path(request.path_bytes, '\0');
    if (!read_exactly(STDIN_FILENO, path.data(), path.size())) return;
    if (request.kind == RequestKind::kWrite) {
      serve_write(request, path);
    } else {
      serve_read(request, path);
    }
  }
}

}  // namespace
}  // namespace vmla::data

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--libraries") {
#ifdef VMLA_HAVE_OPENCV
    return std::printf("OpenCV %s\n", CV_VERSION) > 0 ? 0 : 1;
#else
    return 0;
#endif
  }
  std::signal(SIGPIPE, SIG_IGN);  // a failed write says the same
  // Who stops the job sends these to its children too. The job may still want the video at hand,
  // and would take this process's death for damage of the file. It kills or disconnects it.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1}) std::signal(number, SIG_IGN);
  // A file whose header promises enormous pictures must not take the machine with it: allocations
  // above 4 GiB fail. (The address sanitizer maps far more than that for itself.)
#ifndef __SANITIZE_ADDRESS__
  rlimit memory = {};
  if (getrlimit(RLIMIT_AS, &memory) == 0) {
    memory.rlim_cur = std::min(memory.rlim_max, rlim_t{4} << 30);
    memory.rlim_max = memory.rlim_cur;
    setrlimit(RLIMIT_AS, &memory);
  }
#endif
  // FFmpeg's threads get stacks as large as the shell's limit unless told otherwise, and one of
  // gigabytes is more than that memory.
  pthread_attr_t threads;
  if (pthread_attr_init(&threads) == 0) {
    pthread_attr_setstacksize(&threads, size_t{8} << 20);
    pthread_setattr_default_np(&threads);
    pthread_attr_destroy(&threads);
  }
  vmla::data::take_pipe();
  vmla::data::leave_with_job();
  try {
    vmla::data::serve();
  } catch (const vmla::data::Disconnected&) {
    return 1;
  }
  return 0;
}
