#include "launch/launcher/worker_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

constexpr size_t kLongestLine = size_t{64} << 10;  // a longer one is shown in pieces
constexpr size_t kLastLines = 8;
constexpr size_t kLongestLastLine = 300;

std::vector<std::string> environment_with(const std::map<std::string, std::string>& added) {
  std::vector<std::string> out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) out.push_back(text);
  }
  for (const auto& [name, value] : added) {
    if (!value.empty()) out.push_back(name + "=" + value);
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    fail_run("cannot create a pipe: {}", std::strerror(errno));
  return ends;
}

void bind_to(const std::vector<int>& cpus) {
  if (cpus.empty()) return;
  cpu_set_t* const set = CPU_ALLOC(cpus.back() + 1);
  if (set == nullptr) return;
  const size_t bytes = CPU_ALLOC_SIZE(cpus.back() + 1);
  CPU_ZERO_S(bytes, set);
  for (const int cpu : cpus) CPU_SET_S(static_cast<size_t>(cpu), bytes, set);
  if (sched_setaffinity(0, bytes, set) != 0) {
    std::fprintf(stderr, "vmla-launch: cannot bind to CPUs: %s\n", std::strerror(errno));
  }
}

int open_log(const std::filesystem::path& file) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) fail_user("cannot write the log file {}: {}", file.string(), std::strerror(errno));
  return fd;
}

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace

std::string visible_text(const std::string& line) {
  std::string text = line;
  if (!text.empty() && text.back() == '\r') text.pop_back();
  const size_t carriage_return = text.rfind('\r');
  return carriage_return == std::string::npos ? text : text.substr(carriage_return + 1);
}

WorkerProcess::WorkerProcess(const WorkerOrder& order,
                             const SignalQueue& signals,
                             Guardian& guardian)
    : guardian_(guardian),
      rank_(order.rank),
      error_file_(order.error_file),
      started_(Clock::now()) {
  err_.to_stderr = true;
  open_logs(order);
  std::vector<std::string> words = order.argv, variables = environment_with(order.environment);
  const std::vector<char*> argv = pointers(words), env = pointers(variables);
  const std::array<int, 2> out = make_pipe(), err = make_pipe();
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) fail_run("cannot start a process for rank {}: {}", rank_, std::strerror(errno));
  if (pid_ == 0) {
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);  // the launcher died before the line above
    const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    if (order.inherited_fd >= 0) fcntl(order.inherited_fd, F_SETFD, 0);
    bind_to(order.cpus);
    signals.restore();
    execvpe(argv[0], argv.data(), env.data());
    std::fprintf(stderr, "vmla-launch: cannot start %s: %s\n", argv[0], std::strerror(errno));
    _exit(127);
  }
  guardian_.watch(pid_);
  close(out[1]);
  close(err[1]);
  out_.fd = out[0];
  err_.fd = err[0];
  fcntl(out_.fd, F_SETFL, O_NONBLOCK);
  fcntl(err_.fd, F_SETFL, O_NONBLOCK);
}

void WorkerProcess::open_logs(const WorkerOrder& order) {
  if (order.log_folder.empty()) return;
  out_.log = open_log(order.log_folder / "stdout.log");
  err_.log = open_log(order.log_folder / "stderr.log");
}

WorkerProcess::~WorkerProcess() {
  if (pid_ > 0) {
    kill(-pid_, SIGKILL);
    kill(pid_, SIGKILL);  // it may not have made its group yet
    guardian_.forget(pid_);
    waitpid(pid_, nullptr, 0);
  }
  for (const int fd : {out_.fd, out_.log, err_.fd, err_.log}) {
    if (fd >= 0) close(fd);
  }
}

void WorkerProcess::send(int signal) {
  if (pid_ <= 0) return;
  if (kill(-pid_, signal) != 0) kill(pid_, signal);  // before its setsid() there is no group
}

void WorkerProcess::stop(int signal) {
  stopped_by_us_ = true;
  send(signal);
  send(SIGCONT);  // a stopped process would not see SIGTERM
}

void WorkerProcess::wait_for(std::vector<pollfd>& descriptors) const {
  for (const Stream* stream : {&out_, &err_}) {
    if (stream->fd >= 0) descriptors.push_back({stream->fd, POLLIN, 0});
  }
}

void WorkerProcess::copy_to_log(Stream& stream, const char* bytes, size_t count) {
  while (stream.log >= 0 && count > 0) {
    const ssize_t written = write(stream.log, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {  // a full disk must not end the job: say so once and go on without the file
      std::fprintf(stderr,
                   "vmla-launch: rank %lld's log file ends here: %s\n",
                   static_cast<long long>(rank_),
                   std::strerror(errno));
      close(stream.log);
      stream.log = -1;
      return;
    }
    bytes += written;
    count -= static_cast<size_t>(written);
  }
}

void WorkerProcess::read_from(Stream& stream, const ShowLine& show) {
  std::array<char, 1 << 16> buffer;
  // Not without end: a worker that writes faster than we read must not keep us from the others.
  for (int turn = 0; turn < 16 && stream.fd >= 0; ++turn) {
    const ssize_t count = ::read(stream.fd, buffer.data(), buffer.size());
    if (count > 0) {
      copy_to_log(stream, buffer.data(), static_cast<size_t>(count));
      stream.pending.append(buffer.data(), static_cast<size_t>(count));
      take_lines(stream, false, show);
    } else if (count == 0) {
      close(stream.fd);
      stream.fd = -1;
      take_lines(stream, true, show);
    } else if (errno != EINTR) {
      return;  // nothing there now
    }
  }
}

void WorkerProcess::take_lines(Stream& stream, bool all, const ShowLine& show) {
  const auto take = [&](size_t begin, size_t count) {
    std::string text = visible_text(stream.pending.substr(begin, count));
    if (stream.to_stderr && !text.empty()) {
      last_lines_.push_back(text.substr(0, kLongestLastLine));
      if (last_lines_.size() > kLastLines) last_lines_.pop_front();
    }
    show(stream.to_stderr, std::move(text));
  };
  size_t begin = 0;
  for (size_t end; (end = stream.pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
    take(begin, end - begin);
  }
  stream.pending.erase(0, begin);
  if (!stream.pending.empty() && (all || stream.pending.size() > kLongestLine)) {
    take(0, stream.pending.size());
    stream.pending.clear();
  }
}

void WorkerProcess::read(const ShowLine& show) {
  read_from(out_, show);
  read_from(err_, show);
}

bool WorkerProcess::ended(const ShowLine& show, WorkerEnd& how) {
  if (pid_ <= 0) return false;
  siginfo_t info{};
  // Left unreaped, so that its number is still its group's while the rest of the group is killed.
  if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
      info.si_pid != pid_) {
    return false;
  }
  kill(-pid_, SIGKILL);
  guardian_.forget(pid_);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  for (Stream* stream : {&out_, &err_}) {
    read_from(*stream, show);
    take_lines(*stream, true, show);
    if (stream->fd >= 0) close(stream->fd);  // a child that left the group may still hold the pipe
    stream->fd = -1;
  }
  how = {};
  how.rank = rank_;
  how.host = host_name();
  if (info.si_code == CLD_EXITED) {
    how.exit_code = info.si_status;
  } else {
    how.signal = info.si_status;
  }
  how.after_stop = stopped_by_us_;
  how.seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  for (const auto& line : last_lines_) {
    how.last_lines += (how.last_lines.empty() ? "" : " | ") + line;
  }
  std::ifstream file(error_file_);
  how.message = error_file_message({std::istreambuf_iterator<char>(file), {}});
  return true;
}

}  // namespace vmla::launch
