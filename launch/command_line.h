#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// The command line: one struct of arguments a command, parsed once by CLI11. The front program and
/// the core use the same parser, so that a mistake ends with status 2 before LibTorch is loaded.
namespace vmla::launch {

struct TrainArgs {
  std::string config;
  std::vector<std::string> set;
  std::string run_dir;  // empty: runs/STAGE
  std::string resume = "auto";
  bool dry_run = false;
  int64_t profile = 0;
  bool list_keys = false;
};

struct PipelineArgs {
  std::string config;
  std::vector<std::string> set;
  std::string run_dir;         // empty: runs/NAME
  int64_t jobs = 0;            // 0: what the file says
  std::string nproc_per_node;  // empty: every stage in one process
  bool dry_run = false;
};

struct StepArgs {
  std::string config;
  std::vector<std::string> set;
  std::string inputs, output;
  std::string player = "generator";
};

struct CompareArgs {
  std::vector<std::string> runs;  // two: run folders, the second may be a reference trace
  std::string make_reference;     // else: the file or folder that is made from all of them
  std::string out;
  bool check = false;
};

struct SampleArgs {
  std::string checkpoint;
  std::optional<std::string> prompt;  // an empty prompt is a prompt
  std::string prompts;
  std::string prompts_over_time;
  std::string prompt_switch;  // empty: flush
  int64_t frames = 0;         // 0: as long as the prompts over time last
  std::string out;
  int64_t seed = 0;
  std::string weights = "ema";
  std::string sampler;  // empty: what the checkpoint was trained for
  std::optional<int64_t> steps;
  std::vector<double> denoising_steps, first_chunk_denoising_steps;  // empty: the checkpoint's
  std::optional<int64_t> local_attn_size, sink_size;                 // none: the checkpoint's
  std::optional<double> guidance;
  std::optional<std::string> negative_prompt;
  std::string noise;
  bool save_latents = false;
};

struct ForwardArgs {
  std::string weights;
  std::string config;
  std::vector<std::string> set;
  std::string inputs, output;
  std::string mode;
  std::string weights_role = "ema";
};

struct InitArgs {
  std::string weights;
  std::string config;
  std::vector<std::string> set;
  std::string data;
  std::string out;
  std::string weights_role = "ema";
};

struct ExportArgs {
  std::string checkpoint;
  std::string format;
  std::string out;
  std::string weights = "ema";
  std::string dtype = "bf16";
};

struct ConvertArgs {
  std::string in, out;
  std::string weights_role = "ema";
};

struct AnalyzeSpectrumArgs {
  std::string weights;
  std::string map;
  std::string out;
};

struct AnalyzeRankArgs {
  std::vector<std::string> checkpoints;
  std::string out;
};

struct AnalyzeMemoryArgs {
  std::string config;
  std::vector<std::string> set;
  int64_t gpus = 1;
  double gpu_memory = 0;  // GB of one; 0: not said
  std::string json;
};

struct DataSynthArgs {
  std::string out;
  int64_t count = 0;
  int64_t seed = 0;
  bool held_out = false;
  int64_t frames = 9;
  int64_t size = 128;
  double fps = 8.0;
  std::string format;  // empty: mp4, or y4m in a build without OpenCV
};

struct DataEncodeArgs {
  std::string videos;
  std::string out;
  std::string codec = "space_to_depth:2";
  std::string text = "hashing:32x8";
  int64_t frames = 9;
  int64_t height = 16;
  int64_t width = 16;
  double fps = 8.0;
  int64_t stride = 0;     // 0: frames
  int64_t max_clips = 0;  // a video; 0: as many as fit
  int64_t hold_out_every = 0;
  bool held_out = false;
  int64_t threads = 0;  // 0: one decoder a core
  double timeout_seconds = 60.0;
  bool overwrite = false;
};

struct DataPromptsArgs {
  std::string prompts;
  std::string out;
  std::optional<std::string> text;  // default: --like's, else hashing:32x8
  std::string like;
  bool overwrite = false;
};

struct DataGenerateArgs {
  std::string weights;
  std::string weights_role = "ema";
  std::string prompts;
  std::string out;
  int64_t count_per_prompt = 1;
  int64_t batch = 1;
  std::string sampler = "unipc";
  int64_t steps = 50;
  double guidance = 5.0;
  double shift = 5.0;
  std::string negative_prompt;
  int64_t seed = 0;
  // Default: what the checkpoint was trained on.
  std::optional<std::string> codec, text;
  std::optional<double> fps;
  std::optional<int64_t> frames, height, width;  // latent frames, pixels
  bool overwrite = false;
};

struct DataOdeArgs {
  std::string checkpoint;
  std::string weights = "ema";
  std::string data;
  std::string out;
  int64_t steps = 48;
  double guidance = 6.0;
  std::string negative_prompt;
  std::vector<double> denoising_steps = {1000, 750, 500, 250};
  std::optional<double> shift;  // default: the checkpoint's, else 5
  std::string way = "cached";
  int64_t seed = 0;
  int64_t limit = 0;  // 0: all clips
  int64_t batch = 1;
  std::string dtype = "bf16";
  bool overwrite = false;
};

struct DataInspectArgs {
  std::string file;
  std::string sheet;  // empty: beside the file
};

using Args = std::variant<TrainArgs,
                          PipelineArgs,
                          StepArgs,
                          CompareArgs,
                          SampleArgs,
                          ForwardArgs,
                          InitArgs,
                          ExportArgs,
                          ConvertArgs,
                          AnalyzeSpectrumArgs,
                          AnalyzeRankArgs,
                          AnalyzeMemoryArgs,
                          DataSynthArgs,
                          DataEncodeArgs,
                          DataPromptsArgs,
                          DataGenerateArgs,
                          DataOdeArgs,
                          DataInspectArgs>;

/// What a command line asks for: a text to print (help, version), or a command to run.
struct CommandLine {
  std::optional<std::string> text;
  Args args;
};

/// Parses argv. UserError: one line that names the flag and says what is valid.
CommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace vmla::launch
