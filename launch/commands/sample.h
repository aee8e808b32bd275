#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/command_args.h"
#include "launch/shared_options.h"

namespace vmla::launch {

/// The arguments of `vmla sample`.
struct SampleArgs : CommandArgs, CheckpointArgs, TextArgs, ComputeArgs {
  static const CommandText kText;

  // One of these three is given.
  std::optional<std::string> prompt;  // may be empty: the empty prompt
  std::string prompts;
  std::string prompts_over_time;
  std::string prompt_switch;  // empty: flush
  int64_t frames = 0;         // 0: as a training clip, or as long as the prompts over time last
  std::string out;
  int64_t seed = 0;
  std::string layout = "numbered";  // numbered, vbench
  std::string generate_with;        // of vbench: what the model is given in place of the prompts
  std::optional<int64_t> samples_per_prompt;
  int64_t batch = 1;
  // Empty or none: what the checkpoint says.
  std::string sampler;
  std::optional<int64_t> steps;
  std::vector<double> denoising_steps, first_chunk_denoising_steps;
  std::optional<int64_t> local_attn_size, sink_size;
  std::string kv_cache_dtype;
  bool cuda_graph = false;
  std::optional<double> guidance;
  std::optional<std::string> negative_prompt;
  std::string noise;  // file; empty: drawn from the seed
  bool save_latents = false;
  std::string decoder;  // empty: the codec of the training clips
  std::string decoder_weights;

  void define(OptionSet& options);
  void check() const;
  CpuThreads front_check() const;
  std::optional<std::string> one_process() const;
};

/// In vmla-core.
int run(const SampleArgs& args);

}  // namespace vmla::launch
