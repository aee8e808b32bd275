#pragma once

#include <map>
#include <string>
#include <vector>

namespace vmla::distributed {

/// How one rank of run_ranks ended.
struct EndedRank {
  /// As a shell says it: 128 + the number of the signal that killed it; -1 when it was still there
  /// after the time.
  int status = 0;
  std::string output;  // stdout and stderr
};

struct RankProcesses {
  std::string work;  // what each rank_worker does (worker/works.h)
  int64_t size = 2;
  /// Variables of all ranks, and those of one rank, which win.
  std::map<std::string, std::string> environment = {};
  std::map<int64_t, std::map<std::string, std::string>> of_rank = {};
  bool inherited_socket = true;  // rank 0 gets a listening socket, as under vmla-launch
  /// This rank ends only by being killed, once all others are gone.
  int64_t straggler = -1;
  double limit_seconds = 30;  // then whatever is left is killed
};

/// Starts a process for each rank, on this host, with torchrun's variables; returns when all have
/// ended.
std::vector<EndedRank> run_ranks(const RankProcesses& processes);

/// What the ranks said of the job's error, one line each.
std::vector<std::string> said(const std::vector<EndedRank>& ends);

/// Fails the test for every rank that did not end with status 0.
void expect_success(const std::vector<EndedRank>& ends);

/// A port that nobody listens on.
int64_t free_port();

}  // namespace vmla::distributed
