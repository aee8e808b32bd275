#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/io/exit_status.h"

/// How workers end, and which of those that failed made the others fail.
namespace vmla::launch {

/// How a worker ended. Of the exit codes, those of model/io/exit_status.h have a meaning here.
struct WorkerEnd {
  int64_t rank = 0;
  std::string host;
  int exit_code = 0;
  int signal = 0;           // that killed it; 0: it ended by itself
  bool after_stop = false;  // the launcher had told it to end
  double seconds = 0;       // since its start
  std::string last_lines;   // of its stderr, joined by " | "
  std::string message;      // first line of its error file
};

/// It ended neither with 0 nor with 75.
bool has_failed(const WorkerEnd& end);
/// It failed because another worker did: its status says so, or the launcher stopped it.
bool is_secondary_failure(const WorkerEnd& end);
/// Its exit code, or 128 + signal, as a shell counts.
int status_of(const WorkerEnd& end);

/// Of `failed`, in the order in which they ended: the first that is no secondary failure, or the
/// first if all are. Null if `failed` is empty.
const WorkerEnd* root_cause(const std::vector<WorkerEnd>& failed);

/// One line: rank, host, how it ended and when, its error file's message and its last lines. After
/// status 2 without those two: the worker itself has just said in one line what is wrong.
std::string describe(const WorkerEnd& end);

/// The message in an error file of torchrun's format, or "" if it holds none. Its first line only.
std::string error_file_message(const std::string& json);

}  // namespace vmla::launch
