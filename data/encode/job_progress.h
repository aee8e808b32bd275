#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "model/io/log.h"

namespace vmla::data {

/// How far a long job is: a bar on a terminal, and elsewhere (a log file, a cluster's output) a
/// line every half minute.
class JobProgress {
 public:
  /// `label` says what is done ("encode"), `unit` what is counted ("videos").
  JobProgress(std::string label, std::string unit, long total);
  /// `note` says what is done at the moment.
  void update(long done, std::string_view note = {});

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_, unit_;
  long total_;
  bool is_terminal_;
  Clock::time_point last_said_ = Clock::now();
  log::ProgressBar bar_;
};

}  // namespace vmla::data
