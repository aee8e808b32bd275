#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/io/exit_status.h"

/// How workers end, and which of those that failed was the reason for the others.
namespace vmla::launch {

struct WorkerEnd {
  int64_t rank = 0;
  std::string host;
  int exit_code = 0;
  int signal = 0;           // that killed it; 0: it ended by itself
  bool after_stop = false;  // the launcher had told it to end
  double seconds = 0;       // since its start
  std::string last_lines;   // of its stderr, joined by " | "
  std::string message;      // its error file's
};

/// Ended neither with 0 nor with 75.
bool has_failed(const WorkerEnd& end);
/// Failed because of somebody else: told so by its status, or stopped by us.
bool is_victim(const WorkerEnd& end);
/// Its exit status, or 128 + signal.
int status_of(const WorkerEnd& end);

/// The first of `failed`, in the order they ended, that is no victim; when all are victims, the
/// first. Null without any.
const WorkerEnd* root_cause(const std::vector<WorkerEnd>& failed);

/// One line: rank, host, how it ended and when, and its last words. Status 2 comes without them:
/// the worker's own line has just been shown.
std::string describe(const WorkerEnd& end);

/// The message in an error file of torchrun's format, or "" if it holds none. Its first line only.
std::string error_file_message(const std::string& json);

}  // namespace vmla::launch
