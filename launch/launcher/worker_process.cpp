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

#include "launch/launcher/host_name.h"
#include "model/io/error.h"
#include "model/io/regular_file.h"

namespace vmla::launch {
namespace {

using Pipe = std::array<int, 2>;  // read end, write end
struct OutputPipes {
  Pipe out, err;
};

// A longer line is shown in pieces.
constexpr size_t kLongestLine = size_t{64} << 10;
// What is kept of stderr for the line that says how a worker ended.
constexpr size_t kLastLines = 8;
constexpr size_t kLongestLastLine = 300;
// torchrun's hold a Python stack.
constexpr size_t kLongestErrorFile = size_t{1} << 20;

/// The launcher's own environment with `added` in it, as "NAME=VALUE".
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

/// What exec() takes: a pointer to each word, and a null behind them.
std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

Pipe make_pipe() {
  Pipe ends{};
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
  const int fd = io::open_regular_file(file, O_WRONLY | O_CREAT | O_APPEND);
  if (fd < 0) fail_user("cannot write the log file {}: {}", file.string(), io::open_problem(errno));
  return fd;
}

/// Turns the child that fork() made into the worker.
[[noreturn]] void become_worker(const WorkerOrder& order,
                                const SignalQueue& signals,
                                Guardian& guardian,
                                pid_t launcher,
                                const OutputPipes& pipes,
                                char* const* argv,
                                char* const* environment) {
  setsid();
  // By the worker itself, and before it can start anything: a launcher that is killed right after
  // fork() no longer gets to say it, and what the worker had started would be left.
  guardian.watch(getpid());
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != launcher) _exit(1);  // the launcher died before the line above
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(null, STDIN_FILENO);
  dup2(pipes.out[1], STDOUT_FILENO);
  dup2(pipes.err[1], STDERR_FILENO);
  if (order.inherited_fd >= 0) fcntl(order.inherited_fd, F_SETFD, 0);  // exec() leaves it open
  bind_to(order.cpus);
  signals.restore();
  execvpe(argv[0], argv, environment);
  std::fprintf(stderr, "vmla-launch: cannot start %s: %s\n", argv[0], std::strerror(errno));
  _exit(127);  // as a shell says that it cannot start a program
}

/// Whether `pid` has ended; `info` then says how. It is not reaped, so that its number still
/// belongs to its group.
bool has_ended(pid_t pid, siginfo_t& info) {
  info = {};
  const auto id = static_cast<id_t>(pid);
  return waitid(P_PID, id, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
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
  const std::vector<char*> argv = pointers(words), environment = pointers(variables);
  const OutputPipes pipes = {.out = make_pipe(), .err = make_pipe()};
  const pid_t launcher = getpid();
  pid_ = fork();
  if (pid_ < 0) fail_run("cannot start a process for rank {}: {}", rank_, std::strerror(errno));
  if (pid_ == 0) {
    become_worker(order, signals, guardian_, launcher, pipes, argv.data(), environment.data());
  }
  close(pipes.out[1]);
  close(pipes.err[1]);
  out_.fd = pipes.out[0];
  err_.fd = pipes.err[0];
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
    siginfo_t ended;
    waitid(
        P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOWAIT);  // it may yet ask for watch()
    kill(-pid_, SIGKILL);  // what it has started, if it came to make its group meanwhile
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
    // A full disk must not end the job: say so once, and go on without the file.
    if (written <= 0) {
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
  // At most 1 MB: a worker that writes faster than we read must not keep us from the others.
  for (int turn = 0; turn < 16 && stream.fd >= 0; ++turn) {
    const ssize_t count = ::read(stream.fd, buffer.data(), buffer.size());
    if (count > 0) {
      copy_to_log(stream, buffer.data(), static_cast<size_t>(count));
      stream.pending.append(buffer.data(), static_cast<size_t>(count));
      take_lines(stream, /*at_end=*/false, show);
    } else if (count == 0) {
      close(stream.fd);
      stream.fd = -1;
      take_lines(stream, /*at_end=*/true, show);
    } else if (errno != EINTR) {
      return;  // EAGAIN: nothing is there now
    }
  }
}

void WorkerProcess::take_lines(Stream& stream, bool at_end, const ShowLine& show) {
  const auto pass_on = [&](size_t begin, size_t count) {
    std::string text = visible_text(stream.pending.substr(begin, count));
    if (stream.to_stderr && !text.empty()) {
      last_lines_.push_back(text.substr(0, kLongestLastLine));
      if (last_lines_.size() > kLastLines) last_lines_.pop_front();
    }
    show(stream.to_stderr, std::move(text));
  };
  size_t begin = 0;
  for (size_t end; (end = stream.pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
    pass_on(begin, end - begin);
  }
  stream.pending.erase(0, begin);
  if (!stream.pending.empty() && (at_end || stream.pending.size() > kLongestLine)) {
    pass_on(0, stream.pending.size());
    stream.pending.clear();
  }
}

void WorkerProcess::read(const ShowLine& show) {
  read_from(out_, show);
  read_from(err_, show);
}

void WorkerProcess::read_rest(const ShowLine& show) {
  for (Stream* stream : {&out_, &err_}) {
    read_from(*stream, show);
    take_lines(*stream, /*at_end=*/true, show);
    if (stream->fd >= 0) close(stream->fd);  // a child that left the group may still hold the pipe
    stream->fd = -1;
  }
}

std::optional<WorkerEnd> WorkerProcess::take_end(const ShowLine& show) {
  siginfo_t info;
  if (pid_ <= 0 || !has_ended(pid_, info)) return std::nullopt;
  kill(-pid_, SIGKILL);
  guardian_.forget(pid_);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  read_rest(show);
  WorkerEnd end;
  end.rank = rank_;
  end.host = host_name();
  (info.si_code == CLD_EXITED ? end.exit_code : end.signal) = info.si_status;
  end.after_stop = stopped_by_us_;
  end.seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  for (const std::string& line : last_lines_) {
    end.last_lines += (end.last_lines.empty() ? "" : " | ") + line;
  }
  end.message = error_file_message(io::head_of_file(error_file_, kLongestErrorFile))
                    .substr(0, kLongestLastLine);
  return end;
}

}  // namespace vmla::launch
