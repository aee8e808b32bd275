#include "launch/launcher/guardian.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

/// What goes through the pipe: a process group to watch, or the negative of one to forget. Small
/// enough that the pipe takes it in one piece.
using Request = pid_t;

/// Reads requests until the launcher's end of the pipe is closed, then cleans up.
void guard(int requests, const std::filesystem::path& temporary_folder) {
  std::set<pid_t> groups;
  Request request = 0;
  while (true) {
    const ssize_t count = read(requests, &request, sizeof request);
    if (count < 0 && errno == EINTR) continue;
    if (count != static_cast<ssize_t>(sizeof request)) break;  // the launcher is gone
    if (request > 0) {
      groups.insert(request);
    } else {
      groups.erase(-request);
    }
  }
  for (const pid_t group : groups) kill(-group, SIGKILL);
  std::error_code ignored;
  if (!temporary_folder.empty()) std::filesystem::remove_all(temporary_folder, ignored);
}

}  // namespace

Guardian::Guardian(const std::filesystem::path& temporary_folder) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    fail_run("cannot create a pipe: {}", std::strerror(errno));
  pid_ = fork();
  if (pid_ < 0) fail_run("cannot start a process: {}", std::strerror(errno));
  if (pid_ == 0) {
    setsid();  // out of reach of the terminal and of signals to the launcher's group
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    prctl(PR_SET_NAME, "vmla-guardian");
    close(ends[1]);
    // Whoever reads the launcher's output sees its end only when nobody else holds the descriptor.
    const int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
    guard(ends[0], temporary_folder);
    _exit(0);
  }
  close(ends[0]);
  pipe_ = ends[1];
}

Guardian::~Guardian() {
  close(pipe_);
  waitpid(pid_, nullptr, 0);
}

// A failed write means that the guardian itself was killed. The job goes on without it: workers
// still die with the launcher (PR_SET_PDEATHSIG).
void Guardian::watch(pid_t process_group) {
  const Request request = process_group;
  [[maybe_unused]] const ssize_t count = write(pipe_, &request, sizeof request);
}

void Guardian::forget(pid_t process_group) {
  watch(-process_group);
}

}  // namespace vmla::launch
