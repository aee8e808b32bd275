#include "launch/launcher/worker_group.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;

bool is_program(const fs::path& file) {
  std::error_code error;
  return fs::is_regular_file(file, error) && access(file.c_str(), X_OK) == 0;
}

/// Refuses a program that execvp() would not find: once, instead of in every worker.
void check_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (!fs::exists(name)) fail_user("the program {} does not exist", name);
    if (!is_program(name)) fail_user("{} is no program: no executable file", name);
    return;
  }
  const char* const path = std::getenv("PATH");
  std::string rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const size_t colon = std::min(rest.find(':'), rest.size());
    if (is_program(fs::path(rest.substr(0, colon)) / name)) return;
    rest.erase(0, colon + 1);
  }
  fail_user("the program {} is not in PATH; give its path, such as build/{}", name, name);
}

void create_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail_user("--log-dir: cannot create {}: {}", folder.string(), error.message());
}

}  // namespace

WorkerGroup::WorkerGroup(const LaunchOptions& options,
                         const fs::path& scratch,
                         const SignalQueue& signals,
                         Guardian& guardian,
                         LiveView& view)
    : options_(options), scratch_(scratch), signals_(signals), guardian_(guardian), view_(view) {
  check_program(options.program.front());
  if (!options.log_dir.empty()) create_folder(options.log_dir);
  cpus_ = divide_cpus(
      options.cpu_binding == CpuBinding::kNone ? std::vector<Cpu>() : cpu_topology(usable_cpus()),
      options.workers,
      options.cpu_binding);
}

// Nodes may share the folder, and each numbers its workers from 0.
fs::path WorkerGroup::attempt_folder(const StartOrder& order) const {
  const fs::path base = options_.log_dir.empty() ? scratch_ : fs::absolute(options_.log_dir);
  const std::string run =
      options_.nodes == 1 ? order.run_id : formatted("{}_node{}", order.run_id, options_.node);
  return base / run / formatted("attempt_{}", order.attempt);
}

void WorkerGroup::start(const StartOrder& order, int listen_fd) {
  workers_.clear();
  forwarded_.clear();
  kill_at_.reset();
  first_rank_ = order.first_rank(options_.node);
  for (int64_t i = 0; i < options_.workers; ++i) {
    const WorkerOrder worker = worker_order(order, i, listen_fd);
    workers_.push_back(std::make_unique<WorkerProcess>(worker, signals_, guardian_));
  }
}

WorkerOrder WorkerGroup::worker_order(const StartOrder& order,
                                      int64_t local_rank,
                                      int listen_fd) const {
  const fs::path folder = attempt_folder(order) / std::to_string(local_rank);
  create_folder(folder);
  WorkerOrder worker;
  worker.rank = first_rank_ + local_rank;
  worker.argv = options_.program;
  worker.error_file = folder / "error.json";
  if (!options_.log_dir.empty()) worker.log_folder = folder;
  worker.inherited_fd = worker.rank == 0 ? listen_fd : -1;
  worker.environment = worker_environment(order,
                                          options_.node,
                                          local_rank,
                                          worker.error_file.string(),
                                          worker.inherited_fd,
                                          [](const char* name) { return std::getenv(name); });
  worker.cpus = cpus_[static_cast<size_t>(local_rank)];
  return worker;
}

bool WorkerGroup::running() const {
  return std::any_of(
      workers_.begin(), workers_.end(), [](const auto& worker) { return worker->running(); });
}

void WorkerGroup::forward(int signal) {
  if (!forwarded_.insert(signal).second) return;
  for (const auto& worker : workers_) worker->send(signal);
}

void WorkerGroup::stop(Clock::time_point now) {
  if (kill_at_ || !running()) return;
  for (const auto& worker : workers_) worker->stop(SIGTERM);
  kill_at_ = now + options_.grace;
}

void WorkerGroup::kill() {
  for (const auto& worker : workers_) worker->stop(SIGKILL);
  kill_at_.reset();
}

void WorkerGroup::wait_for(std::vector<pollfd>& descriptors) const {
  for (const auto& worker : workers_) worker->wait_for(descriptors);
}

std::vector<WorkerEnd> WorkerGroup::progress(Clock::time_point now) {
  // In which order workers ended between two calls is not known. Those that failed because another
  // one did come last, so that none of them is taken for the root cause.
  std::vector<WorkerEnd> ends, secondary;
  for (const auto& worker : workers_) {
    if (!worker->running()) continue;
    const int64_t rank = first_rank_ + (&worker - workers_.data());
    const auto show = [&](bool to_stderr, std::string text) {
      view_.line(rank, to_stderr, std::move(text), now);
    };
    worker->read(show);
    if (auto end = worker->take_end(show)) {
      (is_secondary_failure(*end) ? secondary : ends).push_back(std::move(*end));
    }
  }
  std::move(secondary.begin(), secondary.end(), std::back_inserter(ends));
  if (kill_at_ && *kill_at_ <= now && running()) kill();
  if (!running()) kill_at_.reset();
  return ends;
}

}  // namespace vmla::launch
