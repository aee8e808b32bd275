#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/data_config.h"
#include "model/config/model_config.h"
#include "model/conversion/init_methods.h"
#include "trainer/config/objective_config.h"
#include "trainer/config/optimizer_config.h"
#include "trainer/distributed/sharding/sharding_mode.h"

/// One stage's configuration: plain structs, defaults beside the members, one visitor each, in
/// which the help of a key stands. Defaults are those of docs/algorithms.md 9 to 11. No LibTorch
/// here: the front program validates with these before it loads any. Rules are in validate_*.cpp;
/// what a resumed run may change is in config_difference.cpp.
namespace vmla::trainer {

/// Where a role's weights come from. In yaml: a path, or a mapping with some of these keys.
struct InitSource {
  /// Run folder, checkpoint folder, weights file or folder.
  std::string path;
  /// In a pipeline: the stage whose checkpoint it is. The pipeline fills in `path`.
  std::string stage;
  /// Empty: generator_ema, then target_ema, then generator.
  std::string role;
  /// Sizes of the weights, where their files do not say.
  std::string preset;

  bool operator==(const InitSource&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("path", c.path, "run folder, checkpoint or weights");
    v("stage", c.stage, "in a pipeline: the stage to start from");
    v("role", c.role, "whose weights; default: generator_ema, then target_ema, then generator");
    v("preset", c.preset, "sizes of weights that come without a config.json: wan1.3b or wan14b");
  }
};

/// How a stage with latent attention starts from a dense model (docs/algorithms.md 5).
struct InitConfig {
  /// How dense weights become MLA weights; empty: weights are taken as they are.
  std::string method;
  bool allow_other_window = false;

  bool operator==(const InitConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("method", c.method, model::init_method_help().c_str());
    v("allow_other_window",
      c.allow_other_window,
      "start from a checkpoint that was trained with another chunk, window or sink");
  }
};

/// Length, batch, precision and device. A step takes `batch_size` clips over all ranks; each rank
/// takes its share in micro-batches, whose gradients are accumulated.
struct TrainSection {
  int64_t steps = 2000;
  int64_t batch_size = 2;
  int64_t micro_batch_size = 0;
  std::string precision = "fp32";
  std::string recompute = "none";
  std::string device = "cpu";
  int64_t threads = 0;
  int64_t log_every = 10;

  bool operator==(const TrainSection&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("steps", c.steps, "optimizer steps of the whole stage");
    v("batch_size", c.batch_size, "clips a step, over all devices");
    v("micro_batch_size", c.micro_batch_size, "clips a forward pass; 0: the whole batch");
    v("precision",
      c.precision,
      "of matrix products and attention: fp32 or bf16; fp64: everything, for parity checks");
    v("recompute", c.recompute, "none, or block: recompute each block's activations in backward");
    v("device", c.device, "cpu or cuda");
    v("threads", c.threads, "CPU threads; 0: chosen from the number of cores");
    v("log_every", c.log_every, "steps between lines on the terminal");
  }
};

/// The moving average generator_ema (docs/algorithms.md 11.2). An objective's own averages
/// (target_ema) are not set here.
struct EmaConfig {
  double decay = 0.0;
  int64_t start_step = 0;

  bool operator==(const EmaConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("decay", c.decay, "of the moving average of the generator's weights; 0: none is kept");
    v("start_step", c.start_step, "until this step the average is a copy of the weights");
  }
};

/// The objective's loss on held-out clips, on the same noise and timesteps each time.
struct ValidationConfig {
  int64_t every = 0;
  int64_t clips = 16;
  int64_t time_bins = 5;

  bool operator==(const ValidationConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("every",
      c.every,
      "steps between validations on held-out clips, noise and times fixed; 0: never");
    v("clips", c.clips, "held-out clips that are used");
    v("time_bins", c.time_bins, "the loss is also reported in this many bins of the timestep");
  }
};

/// When checkpoints are saved, and which of them stay.
struct CheckpointConfig {
  int64_t every = 1000;
  int64_t keep_last = 2;
  int64_t keep_every = 0;

  bool operator==(const CheckpointConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("every", c.every, "steps between checkpoints; 0: only at the end and on request");
    v("keep_last", c.keep_last, "newest checkpoints that are kept");
    v("keep_every",
      c.keep_every,
      "checkpoints at multiples of this step are kept for good; 0: none");
  }
};

/// Tracking of the effective rank of each layer's latent projections (docs/algorithms.md 13).
struct RankConfig {
  int64_t every = 100;

  bool operator==(const RankConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("every", c.every, "steps between measurements of the effective rank; 0: never");
  }
};

/// Prompts in the file itself (a list), or the path of a text file with one prompt a line.
struct PromptSource {
  std::vector<std::string> list;
  std::string file;
  bool empty() const { return list.empty() && file.empty(); }
  bool operator==(const PromptSource&) const = default;
};

/// Videos that are sampled while the stage trains, and those that are sampled and measured at its
/// end (measure_clips, long_frames). Lengths are in video frames, not in latent ones.
struct SampleConfig {
  int64_t every = 0;
  PromptSource prompts;
  int64_t frames = 81;
  std::string sampler = "auto";
  int64_t steps = 50;
  double guidance_scale = 3.0;
  std::string negative_prompt;
  int64_t seed = 0;
  int64_t measure_clips = 0;
  std::vector<double> also_few_step;
  int64_t long_frames = 0;
  int64_t long_clips = 12;

  bool operator==(const SampleConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("every", c.every, "steps between sampled videos; 0: never");
    v("prompts", c.prompts, "a list of prompts, or a text file with one a line");
    v("frames", c.frames, "video frames, rounded up to whole chunks and trimmed");
    v("sampler",
      c.sampler,
      "unipc, euler or few_step; auto: few_step for a distilled student, else unipc");
    v("steps", c.steps, "sampler steps a chunk");
    v("guidance_scale", c.guidance_scale, "w in v_neg + w (v_pos - v_neg); 1: no guidance");
    v("negative_prompt", c.negative_prompt, "the prompt guidance steers away from");
    v("seed", c.seed, "of the sampling noise");
    v("measure_clips",
      c.measure_clips,
      "videos sampled at the end on the held-out captions and measured; 0: none");
    v("also_few_step",
      c.also_few_step,
      "measured once more with the few-step sampler and these steps, before the shift: what a "
      "many-step model is without distillation; empty: no");
    v("long_frames",
      c.long_frames,
      "video frames of long rollouts that are measured for drift at the end; 0: none");
    v("long_clips", c.long_clips, "how many of them");
  }
};

/// How a job's ranks share the work (docs/operations.md). Without a launcher there is one rank, and
/// nothing here matters.
/// `auto` becomes a value in sharding_choice, when the number of ranks and their memory are known.
struct DistributedConfig {
  std::string backend = "auto";
  std::string sharding = "replicate";
  int64_t shard_size = 0;
  int64_t sequence_parallel_size = 1;
  std::string gradient_accumulation = "auto";
  std::string hold_weights = "auto";
  std::vector<std::string> offload;
  double timeout_seconds = 600;

  bool operator==(const DistributedConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("backend",
      c.backend,
      "how ranks speak: auto (nccl on GPUs, gloo on a CPU), or host_staged: GPUs through the "
      "host's "
      "memory and gloo, where several ranks may share a GPU");
    v("sharding", c.sharding, distributed::sharding_help());
    v("shard_size", c.shard_size, "ranks that share one copy in hybrid; 0: those of a node");
    v("sequence_parallel_size", c.sequence_parallel_size, "ranks that share a clip's tokens");
    v("gradient_accumulation",
      c.gradient_accumulation,
      "local (summed over ranks once a step), scattered (in every backward; no whole gradients are "
      "kept); auto: what sends least and fits, scattered for zero2");
    v("hold_weights",
      c.hold_weights,
      "full and hybrid: whether what rolls out stays gathered until it changes, and what samples "
      "until it is done; auto: if it fits");
    v("offload",
      c.offload,
      "kept in the host's memory, on the GPU only while in use: optimizer (the moments), "
      "generator_ema, target_ema, teacher, real_score");
    v("timeout_seconds", c.timeout_seconds, "after which a rank that does not come is given up");
  }
};

/// All of it. The order of the members is that of the resolved file.
struct TrainConfig {
  std::string stage = "train";
  int64_t seed = 0;
  std::map<std::string, InitSource> init_from;
  model::ModelConfig model;
  InitConfig init;
  ObjectiveConfig objective;
  data::DataConfig data;
  OptimizerConfig optimizer;
  TrainSection train;
  EmaConfig ema;
  ValidationConfig validation;
  CheckpointConfig checkpoint;
  RankConfig rank;
  SampleConfig sample;
  DistributedConfig distributed;

  bool operator==(const TrainConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("stage", c.stage, "name of the stage, and of its run folder");
    v("seed", c.seed, "of everything random in training");
    v("init_from", c.init_from, "role -> weights to start from");
    v("model", c.model, "the network");
    v("init", c.init, "conversion of dense weights to latent attention");
    v("objective", c.objective, "what is trained, with a section of its own");
    v("data", c.data, "clips and captions");
    v("optimizer", c.optimizer, "AdamW");
    v("train", c.train, "length, batch and machine");
    v("ema", c.ema, "moving average of the weights");
    v("validation", c.validation, "loss on held-out clips");
    v("checkpoint", c.checkpoint, "saving");
    v("rank", c.rank, "effective-rank tracking");
    v("sample", c.sample, "videos sampled during training");
    v("distributed", c.distributed, "several processes");
  }
};

}  // namespace vmla::trainer
