#include "data/store/hdf5_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "model/io/error.h"
#include "model/io/program_beside.h"

extern char** environ;

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

/// Starts the program with the file as its standard input, `output` as its standard output and no
/// signal blocked or ignored.
pid_t start(const fs::path& program,
            const RegularFile& file,
            int output,
            const std::vector<std::string>& request) {
  std::vector<std::string> words = {program.string(), file.path().string()};
  words.insert(words.end(), request.begin(), request.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, file.fd(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail_run("cannot start {}: {}", program.string(), std::strerror(error));
  return pid;
}

/// Everything that comes through the pipe until it is closed; false if that is more than `most`
/// bytes or takes longer than `seconds`.
bool receive(int pipe, uint64_t most, double seconds, std::string& answer) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  std::vector<char> buffer(kMiB);
  for (;;) {
    const double left = std::chrono::duration<double>(end - Clock::now()).count();
    pollfd ready = {pipe, POLLIN, 0};
    const int events = poll(&ready, 1, static_cast<int>(std::clamp(left, 0.0, 1e6) * 1000));
    if (events < 0 && errno == EINTR) continue;
    if (events <= 0) return false;
    const ssize_t got = ::read(pipe, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    if (answer.size() + static_cast<size_t>(got) > most) return false;
    answer.append(buffer.data(), static_cast<size_t>(got));
  }
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

}  // namespace

Hdf5Limits hdf5_limits(uint64_t bytes) {
  const double mib = static_cast<double>(bytes) / static_cast<double>(kMiB);
  const uint64_t most = ~uint64_t{0} >> 1;
  return {.processor_seconds = std::min(0.5 + mib / 16, 3600.0),
          .memory_bytes = bytes > most / 16 ? most : 256 * kMiB + 8 * bytes};
}

std::string ask_hdf5_child(const RegularFile& file, const std::vector<std::string>& request) {
  const Hdf5Limits limits = hdf5_limits(file.bytes());
  const fs::path program = io::program_beside("vmla-hdf5", "reads HDF5 files");
  int ends[2];  // close-on-exec: a child started by another thread must not keep the pipe open
  if (pipe2(ends, O_CLOEXEC) != 0) fail_run("no pipe: {}", std::strerror(errno));
  if (ends[1] <= STDERR_FILENO) {  // this process was started without one of the first three
    const int moved = fcntl(ends[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(std::exchange(ends[1], moved));
  }
  pid_t pid = -1;
  try {
    pid = start(program, file, ends[1], request);
  } catch (...) {
    close(ends[0]), close(ends[1]);
    throw;
  }
  close(ends[1]);
  std::string answer;
  // The child's own limit is of processor time; a disk may be slow besides.
  const bool whole =
      receive(ends[0], limits.memory_bytes, 120 + 20 * limits.processor_seconds, answer);
  close(ends[0]);
  if (!whole) kill(pid, SIGKILL);
  const int status = wait_for(pid);
  const std::string path = file.path().string();
  if (!whole) fail_user("{}: damaged: HDF5 does not come to an end with it", path);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF) {
    fail_user("{}: damaged: HDF5 finds no end in it within {:.2g} s of processor time",
              path,
              limits.processor_seconds);
  }
  if (WIFSIGNALED(status)) {
    fail_user("{}: damaged: HDF5 died of it ({})", path, strsignal(WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) != 0 || answer.empty()) {
    fail_run("{}: ended with status {}", program.string(), WEXITSTATUS(status));
  }
  const bool complaint = answer[0] == '-';
  answer.erase(0, 1);
  if (complaint) fail_user(answer);
  return answer;
}

}  // namespace vmla::data
