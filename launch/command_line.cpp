#include "launch/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>

#include "launch/command_help.h"
#include "launch/prompts_over_time.h"
#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/config/config_node.h"

namespace vmla::launch {
namespace {

// CLI11's own checks clamp integers that do not fit, and name the largest integer as the end of a
// range.
CLI::Validator integer_from(int64_t least) {
  return CLI::Validator(
      [least](const std::string& text) {
        int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error == std::errc{} && end == text.data() + text.size() && value >= least) {
          return std::string();
        }
        const bool any = least == std::numeric_limits<int64_t>::min();
        return formatted("{} is not an integer{}",
                         text,
                         any ? std::string(" of 64 bits") : formatted(" of at least {}", least));
      },
      "");
}
const CLI::Validator kCount = integer_from(1);
const CLI::Validator kFromZero = integer_from(0);
const CLI::Validator kInteger = integer_from(std::numeric_limits<int64_t>::min());
// A finite number above 0, or from 0.
CLI::Validator number(bool zero) {
  return CLI::Validator(
      [zero](const std::string& text) {
        double value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool whole = error == std::errc{} && end == text.data() + text.size();
        if (whole && std::isfinite(value) && (value > 0 || (zero && value == 0))) {
          return std::string();
        }
        return formatted("{} is not a number {} 0", text, zero ? "from" : "above");
      },
      "");
}
const CLI::Validator kPositive = number(false);
const CLI::Validator kNotNegative = number(true);

// One value an occurrence, so that a positional argument behind it is not swallowed.
void add_set(CLI::App& app, std::vector<std::string>& set, const std::string& help) {
  app.add_option("--set", set, help)
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* add_text(CLI::App& app,
                      const std::string& flag,
                      std::string& value,
                      const std::string& type,
                      const std::string& help) {
  return app.add_option(flag, value, help)->type_name(type);
}

CLI::Option* add_choice(CLI::App& app,
                        const std::string& flag,
                        std::string& value,
                        const std::vector<std::string>& valid,
                        const std::string& help) {
  return app.add_option(flag, value, help)->check(CLI::IsMember(valid))->capture_default_str();
}

// Numbers separated by commas, in one argument.
void add_list(CLI::App& app,
              const std::string& flag,
              std::vector<double>& values,
              const std::string& help) {
  app.add_option(flag, values, help)
      ->type_name("T,T,...")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(kNotNegative);
}

const char kSetHelp[] = "override a key of the configuration (yaml value); may be repeated";
const char kWeightsHelp[] =
    "a checkpoint or run folder, a Wan or diffusers folder, a .pt/.pth, a videomla export";

void define(CLI::App& app, TrainArgs& args) {
  add_text(app, "--config", args.config, "FILE", "the stage's yaml file");
  add_set(app, args.set, kSetHelp);
  add_text(app, "--run-dir", args.run_dir, "DIR", "where the run is written (default: runs/STAGE)");
  add_text(app,
           "--resume",
           args.resume,
           "auto|never|PATH",
           "auto: go on from the run folder's last checkpoint; never: refuse to; or from PATH")
      ->capture_default_str();
  app.add_flag(
      "--dry-run",
      args.dry_run,
      "check everything, print the plan (parameters, FLOPs, memory, checkpoint size), stop");
  app.add_option("--profile",
                 args.profile,
                 "trace this many steps: RUN_DIR/trace.json (Chrome trace) and phase times")
      ->type_name("STEPS")
      ->check(kCount);
  app.add_flag("--list-keys",
               args.list_keys,
               "print every configuration key with its default and meaning, stop");
}

void define(CLI::App& app, PipelineArgs& args) {
  add_text(app, "--config", args.config, "FILE", "the pipeline's yaml file")->required();
  add_set(app, args.set, "override a key of one stage: STAGE.key=value; may be repeated");
  add_text(
      app, "--run-dir", args.run_dir, "DIR", "where the runs are written (default: runs/NAME)");
  app.add_option(
         "--jobs", args.jobs, "stages that may run side by side (default: the file's `jobs`)")
      ->type_name("N")
      ->check(kCount);
  add_text(app,
           "--nproc-per-node",
           args.nproc_per_node,
           "N|gpu|cpu",
           "start every stage on several ranks, through vmla-launch (default: one process)");
  app.add_flag("--dry-run", args.dry_run, "check every stage, print what would run, stop");
}

void define(CLI::App& app, StepArgs& args) {
  add_text(app,
           "--config",
           args.config,
           "FILE",
           "the stage's yaml file; weights come from its init_from")
      ->required();
  add_set(app, args.set, kSetHelp);
  add_text(
      app, "--inputs", args.inputs, "FILE", "safetensors with every random draw (docs/formats.md)")
      ->required();
  add_text(app,
           "--output",
           args.output,
           "FILE",
           "safetensors to write: loss, intermediates, gradient norms")
      ->required();
  add_choice(app, "--player", args.player, {"generator", "fake_score"}, "whose loss");
}

void define(CLI::App& app, CompareArgs& args) {
  app.add_option("runs",
                 args.runs,
                 "RUN_A RUN_B: run folders of vmla train or vmla pipeline; instead of RUN_B a "
                 "reference trace, or a folder of them")
      ->type_name("RUN...")
      ->required();
  add_text(app, "--out", args.out, "DIR", "also write comparison.csv and comparison.html there");
  app.add_flag("--check", args.check, "status 1 when the run lies outside the reference's band");
  add_text(app,
           "--make-reference",
           args.make_reference,
           "OUT",
           "make a reference trace of these runs, which differ in their seeds (pipelines: a "
           "folder, one trace a stage)");
}

void define(CLI::App& app, SampleArgs& args) {
  add_text(
      app, "--checkpoint", args.checkpoint, "PATH", "a step's folder, `latest`, or a run folder")
      ->required();
  app.add_option("--prompt", args.prompt, "one prompt (may be empty)")->type_name("TEXT");
  add_text(app, "--prompts", args.prompts, "FILE", "a text file, one prompt a line");
  add_text(app,
           "--prompts-over-time",
           args.prompts_over_time,
           "TEXT",
           "one video whose prompt changes: \"text[10s] | other text[5s]\"; a prompt begins with "
           "the first chunk at or after its time");
  app.add_option("--prompt-switch",
                 args.prompt_switch,
                 "what the cache keeps when the prompt changes: flush, the sink and the last two "
                 "frames; recache, all, computed again under the new prompt; keep, all as it is "
                 "(default: flush)")
      ->check(CLI::IsMember({"flush", "recache", "keep"}));
  app.add_option("--frames",
                 args.frames,
                 "video frames; whole chunks are computed and trimmed (default with "
                 "--prompts-over-time: as long as the prompts last)")
      ->type_name("N")
      ->check(kCount);
  add_text(app, "--out", args.out, "DIR", "where 000.mp4, 001.mp4, ... and samples.json go")
      ->required();
  app.add_option("--seed", args.seed, "of the noise")
      ->type_name("S")
      ->check(kInteger)
      ->capture_default_str();
  add_choice(app,
             "--weights",
             args.weights,
             {"ema", "raw"},
             "the averaged weights if there are any, or the trained ones");
  app.add_option("--sampler", args.sampler, "default: what the checkpoint was trained for")
      ->check(CLI::IsMember({"few_step", "unipc", "euler"}));
  app.add_option("--steps", args.steps, "sampler steps a chunk; of few_step: evenly spaced")
      ->type_name("K")
      ->check(kCount);
  add_list(app,
           "--denoising-steps",
           args.denoising_steps,
           "steps of few_step before the timestep shift, falling: 1000,750,500,250");
  add_list(app,
           "--first-chunk-denoising-steps",
           args.first_chunk_denoising_steps,
           "those of the first chunk, where they differ");
  app.add_option("--local-attn-size",
                 args.local_attn_size,
                 "attended latent frames, sink and own chunk included, instead of the "
                 "checkpoint's; -1: all")
      ->type_name("N")
      ->check(kInteger);
  app.add_option("--sink-size",
                 args.sink_size,
                 "first latent frames that are never evicted, instead of the checkpoint's")
      ->type_name("N")
      ->check(kFromZero);
  app.add_option("--guidance", args.guidance, "w in v_neg + w (v_pos - v_neg); 1: none")
      ->check(kNotNegative)
      ->type_name("G");
  app.add_option("--negative-prompt", args.negative_prompt, "the prompt guidance steers away from")
      ->type_name("TEXT");
  add_text(app,
           "--noise",
           args.noise,
           "FILE",
           "safetensors with `noise` [prompts, F, C, H, W] instead of the seed's, and `renoise` "
           "[times, prompts, F, C, H, W] for few_step");
  app.add_flag("--save-latents", args.save_latents, "also write NNN.safetensors");
}

void define(CLI::App& app, ForwardArgs& args) {
  add_text(app, "--weights", args.weights, "PATH", kWeightsHelp)->required();
  add_text(app,
           "--config",
           args.config,
           "FILE",
           "its section `model` overrides what the weights' config.json says");
  add_set(app, args.set, kSetHelp);
  add_text(
      app, "--inputs", args.inputs, "FILE", "safetensors: latents, timesteps, text, clean_latents")
      ->required();
  add_text(app, "--output", args.output, "FILE", "safetensors to write: flow [B, F, C, H, W]")
      ->required();
  app.add_option("--mode", args.mode, "how frames attend to each other")
      ->check(CLI::IsMember({"bidirectional", "chunk_causal", "teacher_forcing", "cached"}))
      ->required();
  add_choice(app,
             "--weights-role",
             args.weights_role,
             {"ema", "raw"},
             "raw prefers `generator` over its average");
}

void define(CLI::App& app, InitArgs& args) {
  add_text(app, "--weights", args.weights, "PATH", "dense weights: " + std::string(kWeightsHelp))
      ->required();
  add_text(
      app, "--config", args.config, "FILE", "sections `model` (attention: mla) and `init` (method)")
      ->required();
  add_set(app, args.set, kSetHelp);
  add_text(app,
           "--data",
           args.data,
           "FILE",
           "latent dataset, for methods that calibrate on activations");
  add_text(app,
           "--out",
           args.out,
           "DIR",
           "videomla export to write, with a report of what each layer lost")
      ->required();
  add_choice(app,
             "--weights-role",
             args.weights_role,
             {"ema", "raw"},
             "raw prefers `generator` over its average");
}

void define(CLI::App& app, ExportArgs& args) {
  add_text(
      app, "--checkpoint", args.checkpoint, "PATH", "a step's folder, `latest`, or a run folder")
      ->required();
  app.add_option("--format", args.format, "layout; MLA models: videomla or pt, dense models: all")
      ->check(CLI::IsMember({"pt", "wan", "diffusers", "videomla"}))
      ->required();
  add_text(app, "--out", args.out, "DIR", "folder to write")->required();
  add_choice(app,
             "--weights",
             args.weights,
             {"ema", "raw"},
             "the averaged weights if there are any, or the trained ones");
  add_choice(app, "--dtype", args.dtype, {"bf16", "fp32"}, "of the tensors");
}

void define(CLI::App& app, ConvertArgs& args) {
  add_text(app,
           "--in",
           args.in,
           "PATH",
           "dense weights: .safetensors, a Wan folder or a diffusers folder")
      ->required();
  add_text(app, "--out", args.out, "PATH", "a .safetensors file, or a folder in the other layout")
      ->required();
  add_choice(app,
             "--weights-role",
             args.weights_role,
             {"ema", "raw"},
             "raw prefers `generator` over its average");
}

void define(CLI::App& app, AnalyzeSpectrumArgs& args) {
  add_text(app,
           "--weights",
           args.weights,
           "PATH",
           "dense weights: a checkpoint, a folder or a safetensors file")
      ->required();
  add_text(
      app, "--map", args.map, "FILE", "yaml from our tensor names to the file's, when they differ");
  add_text(app, "--out", args.out, "DIR", "folder for CSV, HDF5, SVG and HTML")->required();
}

void define(CLI::App& app, AnalyzeRankArgs& args) {
  app.add_option("--checkpoint",
                 args.checkpoints,
                 "checkpoints, run folders or exports; several make a curve")
      ->type_name("PATH...")
      ->required();
  add_text(app, "--out", args.out, "DIR", "folder for rank.h5, CSV, SVG and HTML")->required();
}

void define(CLI::App& app, AnalyzeMemoryArgs& args) {
  add_text(app, "--config", args.config, "FILE", "the stage's yaml file")->required();
  add_set(app, args.set, kSetHelp);
  app.add_option("--gpus", args.gpus, "ranks that share the stage as the section distributed says")
      ->check(kCount)
      ->capture_default_str();
  app.add_option("--gpu-memory",
                 args.gpu_memory,
                 "memory of one in GB (10^9 bytes): what auto chooses fits in it, and the largest "
                 "micro-batch "
                 "is looked for")
      ->check(kPositive);
  add_text(app, "--json", args.json, "FILE", "also writes the plan as JSON, in bytes");
}

void define(CLI::App& app, DataSynthArgs& args) {
  add_text(app, "--out", args.out, "DIR", "folder for the videos and captions file")->required();
  app.add_option("--count", args.count, "clips")->type_name("N")->check(kCount)->required();
  app.add_option("--seed", args.seed, "of size, speed, start and texture")
      ->check(kFromZero)
      ->capture_default_str();
  app.add_flag("--held-out",
               args.held_out,
               "the 12 caption combinations kept out of training, instead of the other 60");
  app.add_option("--frames", args.frames, "frames a clip")->check(kCount)->capture_default_str();
  app.add_option("--size", args.size, "pixels a side; below 128 H.264 ruins the shapes")
      ->check(kCount)
      ->capture_default_str();
  app.add_option("--fps", args.fps, "frames a second")->check(kPositive)->capture_default_str();
  app.add_option("--format", args.format, "of the video files (default: mp4)")
      ->check(CLI::IsMember({"mp4", "avi", "webm", "mkv", "y4m"}));
}

void define(CLI::App& app, DataEncodeArgs& args) {
  add_text(app,
           "--videos",
           args.videos,
           "DIR",
           "folder of .mp4, .avi, .webm, .mkv files, with their captions file")
      ->required();
  add_text(app,
           "--out",
           args.out,
           "FILE.h5",
           "dataset to write; an interrupted job goes on where it stopped")
      ->required();
  app.add_option("--codec", args.codec, "video codec")->capture_default_str();
  app.add_option("--text", args.text, "text encoder")->capture_default_str();
  app.add_option("--frames", args.frames, "pixel frames of a clip")
      ->check(kCount)
      ->capture_default_str();
  app.add_option("--height", args.height, "pixel rows after resize and crop")
      ->check(kCount)
      ->capture_default_str();
  app.add_option("--width", args.width, "pixel columns after resize and crop")
      ->check(kCount)
      ->capture_default_str();
  app.add_option("--fps", args.fps, "frames a second after resampling in time")
      ->check(kPositive)
      ->capture_default_str();
  app.add_option("--stride", args.stride, "frames between the starts of two clips; 0: --frames")
      ->check(kFromZero)
      ->capture_default_str();
  app.add_option("--max-clips", args.max_clips, "clips a video gives at most; 0: all that fit")
      ->check(kFromZero)
      ->capture_default_str();
  app.add_option("--hold-out-every",
                 args.hold_out_every,
                 "hold out every K-th clip of a video, for validation; 0: none")
      ->check(kFromZero)
      ->capture_default_str();
  app.add_flag("--held-out", args.held_out, "encode the held-out clips instead of the others");
  app.add_option("--threads", args.threads, "decoders at once; 0: one a core")
      ->check(kFromZero)
      ->capture_default_str();
  app.add_flag("--overwrite", args.overwrite, "replace an existing dataset");
  app.add_option("--timeout", args.timeout_seconds, "seconds a video may take to decode")
      ->check(kPositive)
      ->capture_default_str();
}

void define(CLI::App& app, DataPromptsArgs& args) {
  add_text(app, "--prompts", args.prompts, "FILE", "a text file, one prompt a line")->required();
  add_text(app, "--out", args.out, "FILE.h5", "prompt set to write")->required();
  app.add_option("--text", args.text, "text encoder (default: that of --like, else hashing:32x8)");
  add_text(app,
           "--like",
           args.like,
           "DATASET",
           "dataset of the clips that the prompts are for: codec, size and fps are copied from it");
  app.add_flag("--overwrite", args.overwrite, "replace an existing prompt set");
}

void define(CLI::App& app, DataGenerateArgs& args) {
  add_text(app,
           "--weights",
           args.weights,
           "PATH",
           "a model without chunks: " + std::string(kWeightsHelp))
      ->required();
  add_choice(app,
             "--weights-role",
             args.weights_role,
             {"ema", "raw"},
             "raw prefers `generator` over its average");
  add_text(app, "--prompts", args.prompts, "FILE", "a text file, one prompt a line")->required();
  add_text(app, "--out", args.out, "FILE.h5", "dataset to write")->required();
  app.add_option("--count-per-prompt", args.count_per_prompt, "clips of each prompt")
      ->type_name("N")
      ->check(kCount)
      ->capture_default_str();
  app.add_option("--batch", args.batch, "clips sampled at once")
      ->type_name("B")
      ->check(kCount)
      ->capture_default_str();
  add_choice(app, "--sampler", args.sampler, {"unipc", "euler"}, "how a clip is sampled");
  app.add_option("--steps", args.steps, "sampler steps")->check(kCount)->capture_default_str();
  app.add_option("--guidance", args.guidance, "w in v_neg + w (v_pos - v_neg); 1: none")
      ->type_name("G")
      ->check(kNotNegative)
      ->capture_default_str();
  app.add_option("--shift", args.shift, "timestep shift of the sampler")
      ->check(kPositive)
      ->capture_default_str();
  add_text(app, "--negative-prompt", args.negative_prompt, "TEXT", "guidance steers away from it");
  app.add_option("--seed", args.seed, "of the noise")->check(kInteger)->capture_default_str();
  app.add_option("--frames", args.frames, "latent frames of a clip (default: the checkpoint's)")
      ->type_name("N")
      ->check(kCount);
  app.add_option("--height", args.height, "pixel rows (default: the checkpoint's)")->check(kCount);
  app.add_option("--width", args.width, "pixel columns (default: the checkpoint's)")->check(kCount);
  app.add_option("--codec", args.codec, "video codec of the latents (default: the checkpoint's)");
  app.add_option("--text", args.text, "text encoder (default: the checkpoint's)");
  app.add_option("--fps", args.fps, "frames a second (default: the checkpoint's)")
      ->check(kPositive);
  app.add_flag("--overwrite", args.overwrite, "replace an existing dataset");
}

void define(CLI::App& app, DataOdeArgs& args) {
  add_text(app, "--checkpoint", args.checkpoint, "PATH", "the causal teacher, of stage 1")
      ->required();
  add_choice(app,
             "--weights",
             args.weights,
             {"ema", "raw"},
             "the averaged weights if there are any, or the trained ones");
  add_text(app, "--data", args.data, "FILE.h5", "dataset of clips")->required();
  add_text(app, "--out", args.out, "FILE.h5", "ODE set to write")->required();
  app.add_option("--steps", args.steps, "Euler steps from noise to a clip")
      ->check(kCount)
      ->capture_default_str();
  app.add_option("--guidance", args.guidance, "w in v_neg + w (v_pos - v_neg); 1: none")
      ->type_name("G")
      ->check(kNotNegative)
      ->capture_default_str();
  add_text(app, "--negative-prompt", args.negative_prompt, "TEXT", "guidance steers away from it");
  add_list(app,
           "--denoising-steps",
           args.denoising_steps,
           "the student's steps before the timestep shift, each a point of the grid "
           "(default: 1000,750,500,250)");
  app.add_option("--shift", args.shift, "timestep shift (default: the checkpoint's)")
      ->check(kPositive);
  add_choice(app,
             "--way",
             args.way,
             {"cached", "doubled"},
             "chunk by chunk against a cache, or all chunks at once: the same states, slower");
  app.add_option("--seed", args.seed, "of the noise")->check(kInteger)->capture_default_str();
  app.add_option("--limit", args.limit, "only the first N clips; 0: all")
      ->type_name("N")
      ->check(kFromZero)
      ->capture_default_str();
  app.add_option("--batch", args.batch, "clips at once")
      ->type_name("B")
      ->check(kCount)
      ->capture_default_str();
  add_choice(app, "--dtype", args.dtype, {"bf16", "fp32"}, "of the stored states");
  app.add_flag("--overwrite", args.overwrite, "replace an existing ODE set");
}

void define(CLI::App& app, DataInspectArgs& args) {
  app.add_option("file", args.file, "dataset: an HDF5 file or a folder of them")
      ->type_name("FILE.h5")
      ->required();
  add_text(app,
           "--sheet",
           args.sheet,
           "FILE.png",
           "contact sheet to write (default: beside the dataset)");
}

// What CLI11 cannot express.
void check(const TrainArgs& args) {
  if (args.config.empty() && !args.list_keys)
    fail_user("train: --config is required; see vmla train --help");
  if (args.resume.empty())
    fail_user("train: --resume is empty; use auto, never or a checkpoint's path");
}
// A list of few-step timesteps and what it may not be combined with.
void check(const std::vector<double>& list, const std::string& flag, const SampleArgs& args) {
  if (list.empty()) return;
  model::warped_step_list(list, /*shift=*/1.0, "sample: " + flag);
  if (!args.sampler.empty() && args.sampler != "few_step") {
    fail_user("sample: {} is for --sampler few_step; {} takes --steps", flag, args.sampler);
  }
  if (args.steps) fail_user("sample: give either --steps or {}, not both", flag);
}
void check(const SampleArgs& args) {
  const int given = (args.prompt ? 1 : 0) + (args.prompts.empty() ? 0 : 1) +
                    (args.prompts_over_time.empty() ? 0 : 1);
  if (given != 1) {
    fail_user(
        "sample: give either --prompt TEXT or --prompts FILE{}; or --prompts-over-time TEXT alone",
        given > 1 ? ", not both" : "");
  }
  if (args.prompts_over_time.empty()) {
    if (args.frames == 0) fail_user("sample: --frames is required; see vmla sample --help");
    if (!args.prompt_switch.empty()) {
      fail_user("sample: --prompt-switch {} needs --prompts-over-time", args.prompt_switch);
    }
  } else if (!parse_prompts_over_time(args.prompts_over_time).back().seconds && args.frames == 0) {
    fail_user(
        "sample: --prompts-over-time does not say how long the last prompt lasts; give it seconds, "
        "or --frames");
  }
  check(args.denoising_steps, "--denoising-steps", args);
  check(args.first_chunk_denoising_steps, "--first-chunk-denoising-steps", args);
}
void check(const DataOdeArgs& args) {
  model::warped_step_list(args.denoising_steps, /*shift=*/1.0, "data ode: --denoising-steps");
}
template <class T>
void check(const T&) {}

/// Which command owns which arguments; the words are the command line's. Help texts are in
/// command_help.
struct Builder {
  CLI::App& root;
  std::vector<std::function<std::optional<Args>()>> parsed;

  template <class T>
  void add(const std::string& group, const std::string& name) {
    CLI::App* parent = &root;
    if (!group.empty()) {
      const auto found =
          root.get_subcommands([&](const CLI::App* app) { return app->get_name() == group; });
      if (!found.empty()) {
        parent = found.front();
      } else {
        parent = root.add_subcommand(group, command_help(group).summary);
        parent->require_subcommand(1);
      }
    }
    const CommandHelp& help = command_help(group.empty() ? name : group + " " + name);
    CLI::App* app = parent->add_subcommand(name, help.summary);
    app->footer(help.text);
    auto args = std::make_shared<T>();
    define(*app, *args);
    parsed.push_back([app, args]() -> std::optional<Args> {
      if (!app->parsed()) return std::nullopt;
      check(*args);
      return Args(*args);
    });
  }
};

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands(nullptr)) names.push_back(sub->get_name());
  return names;
}

// CLI11 reports a wrong command as an unexpected argument; say what there is instead. `group` is
// what stands before the word at `at`: nothing, or "data ".
void check_command(
    const CLI::App& app, const std::string& group, int argc, const char* const* argv, int at) {
  const std::vector<std::string> names = names_of(app);
  if (names.empty()) return;
  const std::string valid = formatted("valid: {}; see vmla {}--help", trainer::join(names), group);
  if (at >= argc) fail_user("no {}command given; {}", group, valid);
  const std::string word = argv[at];
  if (word.starts_with("-")) return;
  if (std::find(names.begin(), names.end(), word) == names.end()) {
    const std::string near = trainer::nearest(word, names);
    fail_user("unknown command '{}{}'; {}{}",
              group,
              word,
              near.empty() ? "" : "did you mean " + near + "? ",
              valid);
  }
  check_command(*app.get_subcommand(word), group + word + " ", argc, argv, at + 1);
}

// CLI11 says that an argument was not expected; say which flag was meant.
std::string nearest_flag(const CLI::App& app, int argc, const char* const* argv) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_lnames().empty()) flags.push_back("--" + option->get_lnames().front());
  }
  for (int i = 1; i < argc; ++i) {
    const std::string word = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
    if (!word.starts_with("--") || std::find(flags.begin(), flags.end(), word) != flags.end())
      continue;
    const std::string near = trainer::nearest(word, flags);
    return formatted("unknown flag {}{}", word, near.empty() ? "" : "; did you mean " + near + "?");
  }
  return "";
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CLI::App root(command_help("").summary, "vmla");
  root.footer(command_help("").text);
  root.set_version_flag("--version", std::string("vmla ") + VMLA_VERSION);
  root.require_subcommand(1);
  Builder builder{root, {}};
  builder.add<TrainArgs>("", "train");
  builder.add<PipelineArgs>("", "pipeline");
  builder.add<SampleArgs>("", "sample");
  builder.add<InitArgs>("", "init");
  builder.add<StepArgs>("", "step");
  builder.add<CompareArgs>("", "compare");
  builder.add<ForwardArgs>("", "forward");
  builder.add<ConvertArgs>("", "convert");
  builder.add<ExportArgs>("", "export");
  builder.add<AnalyzeSpectrumArgs>("analyze", "spectrum");
  builder.add<AnalyzeRankArgs>("analyze", "rank");
  builder.add<AnalyzeMemoryArgs>("analyze", "memory");
  builder.add<DataSynthArgs>("data", "synth");
  builder.add<DataEncodeArgs>("data", "encode");
  builder.add<DataPromptsArgs>("data", "prompts");
  builder.add<DataGenerateArgs>("data", "generate");
  builder.add<DataOdeArgs>("data", "ode");
  builder.add<DataInspectArgs>("data", "inspect");

  check_command(root, "", argc, argv, 1);
  try {
    root.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return {root.help(), {}};
  } catch (const CLI::CallForAllHelp&) {
    return {root.help("", CLI::AppFormatMode::All), {}};
  } catch (const CLI::CallForVersion& version) {
    return {std::string(version.what()) + "\n", {}};
  } catch (const CLI::ParseError& error) {
    std::string said;
    const CLI::App* app = &root;
    while (!app->get_subcommands().empty()) {
      app = app->get_subcommands().back();
      said += app->get_name() + " ";
    }
    const std::string flag = nearest_flag(*app, argc, argv);
    fail_user("{}{}; see vmla {}--help",
              said.empty() ? "" : said.substr(0, said.size() - 1) + ": ",
              flag.empty() ? one_line(error.what()) : flag,
              said);
  }
  for (const auto& parsed : builder.parsed) {
    if (auto args = parsed()) return {std::nullopt, std::move(*args)};
  }
  fail_user("no command given; see vmla --help");
}

}  // namespace vmla::launch
