#include "tests/trainer/distributed/processes.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "trainer/distributed/job/clock.h"
#include "trainer/distributed/job/network_address.h"

namespace vmla::distributed {
namespace {

constexpr int kInheritedSocket = 30;

std::string file_text(int file) {
  std::string text(static_cast<size_t>(lseek(file, 0, SEEK_END)), '\0');
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

struct Child {
  pid_t pid;
  int output;
  bool ended = false;
};

Child start(const RankProcesses& processes, int64_t rank, int64_t port, int socket) {
  std::map<std::string, std::string> variables{
      {"RANK", std::to_string(rank)},
      {"LOCAL_RANK", std::to_string(rank)},
      {"WORLD_SIZE", std::to_string(processes.size)},
      {"LOCAL_WORLD_SIZE", std::to_string(processes.size)},
      {"MASTER_ADDR", "127.0.0.1"},
      {"MASTER_PORT", std::to_string(port)},
      {"TORCHELASTIC_RUN_ID", "test"},
      {"OMP_NUM_THREADS", "1"},
      {"OMP_WAIT_POLICY", "PASSIVE"},
      {"PATH", "/usr/bin:/bin"},
  };
  if (rank == 0 && socket >= 0)
    variables["VMLA_STORE_LISTEN_FD"] = std::to_string(kInheritedSocket);
  for (const auto& [name, value] : processes.environment) variables[name] = value;
  if (const auto own = processes.of_rank.find(rank); own != processes.of_rank.end())
    for (const auto& [name, value] : own->second) variables[name] = value;
  std::vector<std::string> texts;
  for (const auto& [name, value] : variables) texts.push_back(name + "=" + value);
  std::vector<char*> environment;
  for (std::string& text : texts) environment.push_back(text.data());
  environment.push_back(nullptr);

  std::string program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rank_worker";
  std::string work = processes.work;
  char* const arguments[] = {program.data(), work.data(), nullptr};
  Child child{.pid = 0, .output = memfd_create("output", MFD_CLOEXEC)};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, child.output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, child.output, STDERR_FILENO);
  if (rank == 0 && socket >= 0)
    posix_spawn_file_actions_adddup2(&actions, socket, kInheritedSocket);
  const int failed =
      posix_spawn(&child.pid, program.c_str(), &actions, nullptr, arguments, environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start " + program);
  return child;
}

}  // namespace

std::vector<EndedRank> run_ranks(const RankProcesses& processes) {
  const int socket = listen_on(0);
  const int64_t port = port_of(socket);
  if (!processes.inherited_socket) close(socket);
  std::vector<Child> children;
  const auto begin = Clock::now();
  for (int64_t rank = 0; rank < processes.size; ++rank)
    children.push_back(start(processes, rank, port, processes.inherited_socket ? socket : -1));
  if (processes.inherited_socket) close(socket);

  std::vector<EndedRank> ends(children.size());
  bool killed = false;
  for (size_t left = children.size(); left > 0;) {
    for (size_t rank = 0; rank < children.size(); ++rank) {
      int status = 0;
      if (children[rank].ended || waitpid(children[rank].pid, &status, WNOHANG) <= 0) continue;
      children[rank].ended = true;
      --left;
      ends[rank].status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      if (killed && static_cast<int64_t>(rank) != processes.straggler) ends[rank].status = -1;
    }
    const bool straggles = left == 1 && processes.straggler >= 0 &&
                           !children[static_cast<size_t>(processes.straggler)].ended;
    if (straggles) kill(children[static_cast<size_t>(processes.straggler)].pid, SIGKILL);
    if (!killed && seconds_since(begin) > processes.limit_seconds) {
      killed = true;
      for (const Child& child : children)
        if (!child.ended) kill(child.pid, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (size_t rank = 0; rank < children.size(); ++rank) {
    ends[rank].output = file_text(children[rank].output);
    close(children[rank].output);
  }
  return ends;
}

std::vector<std::string> said(const std::vector<EndedRank>& ends) {
  std::vector<std::string> lines;
  for (const EndedRank& end : ends) {
    const size_t at = end.output.find("said: ");
    if (at != std::string::npos)
      lines.push_back(end.output.substr(at + 6, end.output.find('\n', at) - at - 6));
  }
  return lines;
}

void expect_success(const std::vector<EndedRank>& ends) {
  for (size_t rank = 0; rank < ends.size(); ++rank)
    EXPECT_EQ(ends[rank].status, 0) << "rank " << rank << ":\n" << ends[rank].output;
}

int64_t free_port() {
  const int socket = listen_on(0);
  const int64_t port = port_of(socket);
  close(socket);
  return port;
}

}  // namespace vmla::distributed
