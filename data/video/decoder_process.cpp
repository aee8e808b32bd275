#include "data/video/decoder_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "model/io/error.h"

extern char** environ;

namespace vmla::data {
namespace fs = std::filesystem;

fs::path find_decoder_program() {
  const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
  for (const fs::path& folder : {here, here.parent_path()}) {
    if (fs::exists(folder / "vmla-decode")) return folder / "vmla-decode";
  }
  fail_run("the program vmla-decode, which reads and writes videos, is not beside {}",
           here.string());
}

ChildProcess::ChildProcess(const fs::path& program) {
  // Close-on-exec everywhere, so that no other child inherits these ends and keeps the pipe open.
  int input[2], output[2];
  if (pipe2(input, O_CLOEXEC) != 0) fail_run("no pipe: {}", std::strerror(errno));
  if (pipe2(output, O_CLOEXEC) != 0) {
    close(input[0]), close(input[1]);
    fail_run("no pipe: {}", std::strerror(errno));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::string name = program.string();
  char* argv[] = {name.data(), nullptr};
  // posix_spawn uses vfork: safe beside LibTorch's and OpenMP's threads, and cheap in a large
  // process.
  const int error = posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(input[0]), close(output[1]);
  to_child_ = input[1];
  from_child_ = output[0];
  if (error != 0) {
    pid_ = -1;
    close(to_child_), close(from_child_);
    fail_run("cannot start {}: {}", program.string(), std::strerror(error));
  }
}

ChildProcess::~ChildProcess() {
  kill_and_describe();
}

bool ChildProcess::write(const void* bytes, size_t count) {
  // A broken pipe must be an error of this call, not a signal that ends the job.
  sigset_t pipe_signal, before;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  const auto* at = static_cast<const char*>(bytes);
  bool broken = false;
  while (count > 0) {
    const ssize_t put = ::write(to_child_, at, count);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      broken = true;
      break;
    }
    at += put;
    count -= static_cast<size_t>(put);
  }
  if (broken && sigismember(&before, SIGPIPE) == 0) {
    const timespec now = {0, 0};
    sigtimedwait(&pipe_signal, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return !broken;
}

ChildProcess::Read ChildProcess::read(void* into, size_t count, double& seconds_left) {
  using Clock = std::chrono::steady_clock;
  auto* at = static_cast<char*>(into);
  if (from_child_ < 0) return Read::kClosed;
  while (count > 0) {
    const auto begin = Clock::now();
    pollfd ready = {from_child_, POLLIN, 0};
    const int wait_ms =
        static_cast<int>(std::ceil(std::max(0.0, std::min(seconds_left, 1e6)) * 1000));
    const int events = poll(&ready, 1, wait_ms);
    seconds_left -= std::chrono::duration<double>(Clock::now() - begin).count();
    if (events < 0 && errno == EINTR) continue;
    if (events == 0) return Read::kTimeout;
    const ssize_t got = ::read(from_child_, at, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Read::kClosed;
    at += got;
    count -= static_cast<size_t>(got);
  }
  return Read::kDone;
}

std::string ChildProcess::kill_and_describe() {
  if (pid_ < 0) return "has ended";
  close(to_child_), close(from_child_);
  to_child_ = from_child_ = -1;  // the numbers may soon mean other files
  // One that ended by itself is a zombie until now and keeps its own status.
  kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFSIGNALED(status))
    return formatted("died of signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return formatted("ended with status {}", WEXITSTATUS(status));
}

DecoderProcess::DecoderProcess(fs::path program) : program_(std::move(program)) {}
DecoderProcess::~DecoderProcess() = default;

ReadOutcome DecoderProcess::read(const fs::path& video,
                                 const ReadOptions& options,
                                 const FrameSink& sink) {
  const std::string path = fs::absolute(video).string();
  VideoRequest request = {};
  request.kind = RequestKind::kRead;
  request.path_bytes = static_cast<uint32_t>(path.size());
  request.height = static_cast<uint32_t>(options.height);
  request.width = static_cast<uint32_t>(options.width);
  request.fps = options.fps;
  request.max_frames = static_cast<uint64_t>(options.max_frames);
  frame_.resize(static_cast<size_t>(options.height * options.width * 3));

  if (!child_) child_ = std::make_unique<ChildProcess>(program_);
  ReadOutcome outcome;
  if (child_->write(&request, sizeof request) && child_->write(path.data(), path.size())) {
    outcome = receive(options, sink);
  } else {
    outcome.problem = "the decoder " + child_->kill_and_describe();
    child_.reset();
  }
  return outcome;
}

ReadOutcome DecoderProcess::receive(const ReadOptions& options, const FrameSink& sink) {
  ReadOutcome outcome;
  double seconds_left = options.time_limit_seconds;
  // Ends this child: what it would send next cannot be told from what it should have sent.
  const auto give_up = [&](std::string problem) {
    child_.reset();
    outcome.problem = std::move(problem);
    return outcome;
  };
  const auto interrupted = [&](ChildProcess::Read how) {
    if (how == ChildProcess::Read::kTimeout) {
      return give_up(
          formatted("no answer from the decoder within {:g} s", options.time_limit_seconds));
    }
    return give_up("the decoder " + child_->kill_and_describe());
  };
  for (;;) {
    ReplyHeader header;
    ChildProcess::Read how = child_->read(&header, sizeof header, seconds_left);
    if (how != ChildProcess::Read::kDone) return interrupted(how);
    const bool is_text = header.kind == ReplyKind::kEnd || header.kind == ReplyKind::kFailed;
    const bool valid = (header.kind == ReplyKind::kOpened && header.bytes == sizeof(VideoInfo)) ||
                       (header.kind == ReplyKind::kFrame && header.bytes == frame_.size()) ||
                       (is_text && header.bytes <= (1u << 20));
    if (!valid) return give_up("the decoder sent garbage");
    std::string text(is_text ? header.bytes : 0, '\0');
    VideoInfo info;
    void* into = header.kind == ReplyKind::kFrame ? static_cast<void*>(frame_.data())
                 : is_text                        ? static_cast<void*>(text.data())
                                                  : static_cast<void*>(&info);
    how = child_->read(into, header.bytes, seconds_left);
    if (how != ChildProcess::Read::kDone) return interrupted(how);
    if (is_text) {
      outcome.problem = std::move(text);
      return outcome;
    }
    outcome.opened = true;
    if (header.kind == ReplyKind::kFrame && !sink(outcome.frames++, frame_.data())) {
      child_.reset();
      return outcome;
    }
  }
}

}  // namespace vmla::data
