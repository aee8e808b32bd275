#include "launch/doctor/other_programs.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "model/io/error.h"
#include "model/io/program_beside.h"

extern char** environ;

namespace vmla::launch::doctor {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostOutput = 65536;

/// Starts the program with its stdout in the pipe and everything else nowhere; -1 and errno where
/// it cannot be started.
pid_t start(const std::filesystem::path& program, std::vector<std::string> words, int out) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = -1;
  const int problem = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  errno = problem;
  return problem == 0 ? child : -1;
}

/// Reads until the other end is closed; false when the time is over first.
bool read_all(int from, double most_seconds, std::string& out) {
  const auto begin = Clock::now();
  std::array<char, 4096> bytes{};
  for (;;) {
    const double left = most_seconds - std::chrono::duration<double>(Clock::now() - begin).count();
    pollfd ready = {from, POLLIN, 0};
    if (left <= 0) return false;
    if (poll(&ready, 1, static_cast<int>(1e3 * left) + 1) <= 0) continue;
    const ssize_t got = read(from, bytes.data(), bytes.size());
    if (got <= 0) return true;
    out.append(bytes.data(), std::min(static_cast<size_t>(got), kMostOutput - out.size()));
  }
}

}  // namespace

ProgramAnswer ask_program(const std::filesystem::path& program,
                          const std::vector<std::string>& arguments,
                          double most_seconds) {
  ProgramAnswer answer;
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    answer.problem = std::strerror(errno);
    return answer;
  }
  std::vector<std::string> words = {program.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const auto begin = Clock::now();
  const pid_t child = start(program, words, ends[1]);
  if (child < 0) answer.problem = program.string() + ": " + std::strerror(errno);
  close(ends[1]);
  if (child > 0) {
    const bool in_time = read_all(ends[0], most_seconds, answer.out);
    if (!in_time) kill(child, SIGKILL);
    int state = 0;
    while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
    }
    const std::string name = program.filename().string();
    if (!in_time) {
      answer.problem = formatted("{} did not end within {:g} s", name, most_seconds);
    } else if (WIFSIGNALED(state)) {
      answer.problem = formatted("{} was ended by signal {}", name, WTERMSIG(state));
    } else if (WEXITSTATUS(state) != 0) {
      answer.problem = formatted("{} ended with status {}", name, WEXITSTATUS(state));
    }
  }
  close(ends[0]);
  answer.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return answer;
}

LibraryFacts measure_library(const std::string& name, const std::string& program) {
  LibraryFacts facts{.name = name, .version = {}, .problem = {}, .optional = false};
  try {
    const ProgramAnswer answer =
        ask_program(io::program_beside(program, "uses " + name), {"--libraries"}, 10);
    facts.problem = answer.problem;
    const size_t end = answer.out.find('\n');
    if (answer.out.starts_with(name + " ")) {
      facts.version = answer.out.substr(name.size() + 1, end - name.size() - 1);
    } else if (facts.problem.empty()) {
      facts.problem = program + " was built without " + name;
      facts.optional = true;
    }
  } catch (const RunError& error) {
    facts.problem = error.what();
  }
  return facts;
}

}  // namespace vmla::launch::doctor
