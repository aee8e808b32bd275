#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>

namespace vmla::trainer {

/// `--profile STEPS`: records the host's operators in that many steps, and on a GPU its kernels and
/// copies beside them, after a few steps to warm up, into a Chrome trace (chrome://tracing,
/// Perfetto). With 0 steps it does nothing.
class Profiler {
 public:
  Profiler(int64_t steps, std::filesystem::path trace_file, bool on_gpu = false)
      : steps_(steps), file_(std::move(trace_file)), on_gpu_(on_gpu) {}
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  void step_begins();
  void step_ended();

 private:
  void save();

  int64_t steps_;
  std::filesystem::path file_;
  bool on_gpu_;
  int64_t seen_ = 0;
  bool recording_ = false;
};

}  // namespace vmla::trainer
