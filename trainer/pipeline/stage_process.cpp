#include "trainer/pipeline/stage_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "model/io/error.h"
#include "model/io/log.h"

namespace vmla::trainer {
namespace {

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& added) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) out.push_back(text);
  }
  for (const auto& [name, value] : added) out.push_back(name + "=" + value);
  return out;
}

void make_pipe(std::array<int, 2>& ends) {
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    fail_run("cannot create a pipe: {}", std::strerror(errno));
}

}  // namespace

StageProcess::StageProcess(const std::vector<std::string>& argv,
                           const std::map<std::string, std::string>& environment,
                           const std::string& prefix)
    : prefix_(prefix) {
  // Between fork and exec the child may only make system calls: another thread of the parent may
  // have held the allocator's lock. So everything that allocates comes first.
  std::vector<std::string> words = argv, variables = environment_with(environment);
  const std::vector<char*> argv_pointers = pointers(words), env_pointers = pointers(variables);
  std::array<int, 2> out{-1, -1}, err{-1, -1};
  if (!prefix.empty()) {
    make_pipe(out);
    make_pipe(err);
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) fail_run("cannot start a process for a stage: {}", std::strerror(errno));
  if (pid_ == 0) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);  // the parent died before the line above
    if (!prefix.empty()) {
      dup2(out[1], STDOUT_FILENO);
      dup2(err[1], STDERR_FILENO);
    }
    execve(argv_pointers[0], argv_pointers.data(), env_pointers.data());
    _exit(127);
  }
  setpgid(pid_, pid_);  // as the child does: whoever comes first, it is done
  if (prefix.empty()) return;
  close(out[1]);
  close(err[1]);
  out_.fd = out[0];
  err_.fd = err[0];
  err_.to_stderr = true;
  fcntl(out_.fd, F_SETFL, O_NONBLOCK);
  fcntl(err_.fd, F_SETFL, O_NONBLOCK);
}

StageProcess::~StageProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (out_.fd >= 0) close(out_.fd);
  if (err_.fd >= 0) close(err_.fd);
}

void StageProcess::send(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

void StageProcess::read_from(Stream& stream) {
  std::array<char, 4096> buffer;
  while (stream.fd >= 0) {
    const ssize_t count = read(stream.fd, buffer.data(), buffer.size());
    if (count > 0) {
      stream.pending.append(buffer.data(), static_cast<size_t>(count));
      print(stream, false);
    } else if (count == 0) {
      close(stream.fd);
      stream.fd = -1;
      print(stream, true);
    } else if (errno != EINTR) {
      break;  // nothing there now
    }
  }
}

void StageProcess::pass_on(const Stream& stream, const std::string& line) {
  constexpr std::string_view kMark = "vmla: error: ";
  if (stream.to_stderr && !line.empty())
    last_error_ = line.starts_with(kMark) ? line.substr(kMark.size()) : line;
  log::pass_on(stream.to_stderr, prefix_ + line);
}

void StageProcess::print(Stream& stream, bool all) {
  size_t begin = 0;
  for (size_t end; (end = stream.pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
    pass_on(stream, stream.pending.substr(begin, end - begin));
  }
  stream.pending.erase(0, begin);
  if (all && !stream.pending.empty()) {
    pass_on(stream, stream.pending);
    stream.pending.clear();
  }
}

void StageProcess::pump(int wait_ms) {
  std::array<pollfd, 2> fds = {pollfd{out_.fd, POLLIN, 0}, pollfd{err_.fd, POLLIN, 0}};
  // poll ignores negative descriptors and then only sleeps; a signal ends the sleep.
  poll(fds.data(), fds.size(), wait_ms);
  read_from(out_);
  read_from(err_);
}

bool StageProcess::ended(StageExit& how) {
  if (pid_ <= 0) return true;
  int state = 0;
  const pid_t result = waitpid(pid_, &state, WNOHANG);
  if (result != pid_) return false;
  pid_ = -1;
  read_from(out_);
  read_from(err_);
  how.killed = WIFSIGNALED(state);
  how.status = how.killed ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
  return true;
}

}  // namespace vmla::trainer
