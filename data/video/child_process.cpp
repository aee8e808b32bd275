#include "data/video/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include "data/video/pipe_io.h"
#include "model/io/error.h"

extern char** environ;

namespace vmla::data {

ChildProcess::ChildProcess(const std::filesystem::path& program) {
  // Close-on-exec everywhere: another child, started by another thread at this moment, must not
  // inherit an end and keep the pipe open. adddup2 below makes the two copies that are meant for
  // this child.
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
  // A process group of its own: Ctrl-C is for the job, which then decides about its children.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  // posix_spawn uses vfork: safe beside LibTorch's and OpenMP's threads, and cheap in a large
  // process.
  const int error = posix_spawn(&pid_, program.c_str(), &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(input[0]), close(output[1]);  // the child's ends: only it has them from now on
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
  const bool written = write_exactly(to_child_, bytes, count);
  if (!written && sigismember(&before, SIGPIPE) == 0) {
    const timespec now = {0, 0};  // takes the pending signal, without waiting for one
    sigtimedwait(&pipe_signal, nullptr, &now);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return written;
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

}  // namespace vmla::data
