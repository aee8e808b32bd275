#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

namespace vmla::data {

/// Runs `job` in a process of its own, and kills that process when the folder OUT.parts holds six
/// files; false if the job was faster and wrote `out`.
template <class Job>
bool kill_after_six_parts(const std::filesystem::path& out, const Job& job) {
  namespace fs = std::filesystem;
  const fs::path parts = out.string() + ".parts";
  const pid_t child = fork();
  if (child == 0) {
    job();
    _exit(0);
  }
  const auto part_count = [&] {
    return fs::exists(parts)
               ? std::distance(fs::directory_iterator(parts), fs::directory_iterator())
               : 0;
  };
  bool ended = false;
  while (!ended && part_count() < 6) {
    ended = waitpid(child, nullptr, WNOHANG) != 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (!ended) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  return fs::exists(parts) && !fs::exists(out);
}

}  // namespace vmla::data
