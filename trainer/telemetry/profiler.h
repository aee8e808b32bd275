#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>

namespace vmla::trainer {

/// `--profile STEPS`: records the host's operators in that many steps, after a few to warm up, into
/// a Chrome trace (chrome://tracing, Perfetto). With 0 steps it does nothing.
class Profiler {
 public:
  Profiler(int64_t steps, std::filesystem::path trace_file)
      : steps_(steps), file_(std::move(trace_file)) {}
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  void step_begins();
  void step_ended();

 private:
  void save();

  int64_t steps_;
  std::filesystem::path file_;
  int64_t seen_ = 0;
  bool recording_ = false;
};

}  // namespace vmla::trainer
