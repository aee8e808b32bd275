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
    v("path",
      c.path,
      "run folder, checkpoint folder, or weights: .safetensors, a Wan, diffusers or videomla "
      "folder");
    v("stage", c.stage, "in a pipeline, instead of path: name of the stage to start from");
    v("role",
      c.role,
      "which network of a checkpoint; empty: generator_ema, else target_ema, else generator");
    v("preset", c.preset, "sizes of weights that come without a config.json: wan1.3b or wan14b");
  }
};

/// How a stage with latent attention starts from a dense model (docs/algorithms.md 5).
struct InitConfig {
  /// How dense weights become MLA weights; empty: weights are taken as they are.
  std::string method;
  int64_t calibration_clips = 32;
  int64_t refine_steps = 0;
  bool allow_other_window = false;
  bool allow_other_source = false;

  bool operator==(const InitConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("method", c.method, model::init_method_help().c_str());
    v("calibration_clips",
      c.calibration_clips,
      "clips of the dataset that the dense model runs on, for a method that looks at activations; "
      "at least 1");
    v("refine_steps",
      c.refine_steps,
      "at most so many steps of alternating least squares on the latent's projections, towards "
      "what the method makes small; 0: none");
    v("allow_other_window",
      c.allow_other_window,
      "true: a checkpoint that was trained with another chunk, window or sink may be started from");
    v("allow_other_source",
      c.allow_other_source,
      "true: a resumed run may go on with other weights of a frozen role than it had before");
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
  bool deterministic = false;
  int64_t threads = 0;
  int64_t log_every = 10;

  bool operator==(const TrainSection&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("steps", c.steps, "optimizer steps of the whole stage; at least 1");
    v("batch_size", c.batch_size, "clips per optimizer step, over all processes");
    v("micro_batch_size",
      c.micro_batch_size,
      "clips per forward pass; must divide a process's share of batch_size; 0: all of it");
    v("precision",
      c.precision,
      "of matrix products and attention: fp32 or bf16; fp64: of everything, to compare with other "
      "programs");
    v("recompute",
      c.recompute,
      "what of each block is computed again in the backward pass, which saves memory: none, "
      "selective (all but attention, whose results are kept) or block (all of it)");
    v("device", c.device, "cpu or cuda");
    v("deterministic",
      c.deterministic,
      "true: on cuda attention adds its gradients in a fixed order, so that a run repeats bit for "
      "bit; slower, and with memory that the plan does not count. On cpu a run repeats anyway");
    v("threads",
      c.threads,
      "CPU threads of a process; 0: as many as cores, at most 8, and 1 for models narrower than "
      "256");
    v("log_every", c.log_every, "steps between lines on the terminal; at least 1");
  }
};

/// What each operation with fused code of its own runs as (kernels/kernel_choice.h), under the
/// operation's name there.
struct KernelsConfig {
  std::string attention = "flash";
  std::string rms_norm = "auto";
  std::string layer_norm_modulate = "auto";
  std::string gated_residual = "auto";
  std::string gelu_tanh = "auto";
  std::string rope = "auto";
  std::string merge_part = "auto";
  std::string adamw = "auto";

  bool operator==(const KernelsConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("attention",
      c.attention,
      "LibTorch's attention kernel for bf16 on a GPU: flash, or cudnn for heads of at most 128");
    v("rms_norm", c.rms_norm, "RMSNorm of queries, keys and latents: auto, reference or fused");
    v("layer_norm_modulate",
      c.layer_norm_modulate,
      "LayerNorm with scale and shift, and the sum in front of it: likewise");
    v("gated_residual", c.gated_residual, "the gated sum at a block's end: likewise");
    v("gelu_tanh", c.gelu_tanh, "GELU in its tanh form: likewise");
    v("rope", c.rope, "rotary embedding, and the rows of latents with it: likewise");
    v("merge_part", c.merge_part, "attention to several parts of the keys, joined: likewise");
    v("adamw", c.adamw, "the optimizer's step: likewise");
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
    v("decay",
      c.decay,
      "decay per step of the average of the generator's weights (generator_ema); 0 to below 1; 0: "
      "no average");
    v("start_step",
      c.start_step,
      "until this step the average is a copy of the weights; below train.steps");
  }
};

/// The objective's loss on held-out clips, on the same noise and timesteps each time.
struct ValidationConfig {
  int64_t every = 0;
  int64_t clips = 16;
  int64_t time_bins = 5;
  int64_t seed = 0;

  bool operator==(const ValidationConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("every", c.every, "steps between validations; 0: never");
    v("clips", c.clips, "held-out clips used each time, the first ones of data.validation_path");
    v("time_bins",
      c.time_bins,
      "intervals of the timestep for which the loss is reported separately; at least 1");
    v("seed",
      c.seed,
      "seed of the noise and the timesteps that the loss is computed with, any integer; whatever "
      "the seed of training is, runs that share this one are compared on the same draws");
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
    v("every",
      c.every,
      "steps between checkpoints; 0: only at the end and when the run is stopped");
    v("keep_last", c.keep_last, "how many of the newest checkpoints are kept; at least 1");
    v("keep_every",
      c.keep_every,
      "checkpoints at multiples of this step are never deleted; 0: none");
  }
};

/// Tracking of the effective rank of each layer's latent projections, and of the latents of real
/// clips; of a dense model, of its keys' and values' weights (docs/algorithms.md 13).
struct RankConfig {
  int64_t every = 100;
  std::vector<int64_t> energy_at;
  int64_t activation_clips = 0;
  int64_t activation_every = 0;

  bool operator==(const RankConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("every", c.every, "steps between measurements; 0: never");
    v("energy_at",
      c.energy_at,
      "ascending numbers of singular values whose share of the energy is also written; []: of a "
      "dense model dim/8, else none");
    v("activation_clips",
      c.activation_clips,
      "held-out clips (validation_path) whose latents are measured; 0: none");
    v("activation_every",
      c.activation_every,
      "steps between measurements of latents, a multiple of every; the first and the last "
      "step's are always measured; 0: five times every");
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
  std::string kv_cache_dtype = "auto";
  bool cuda_graph = false;

  bool operator==(const SampleConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("every", c.every, "steps between sampled videos; 0: never");
    v("prompts", c.prompts, "a list of prompts, or the path of a text file with one prompt a line");
    v("frames", c.frames, "video frames of a sample; whole chunks are computed and trimmed");
    v("sampler",
      c.sampler,
      "unipc, euler or few_step; auto: few_step for a distilled student, else unipc");
    v("steps",
      c.steps,
      "denoising steps per chunk of unipc and euler; few_step takes the objective's "
      "denoising_step_list");
    v("guidance_scale",
      c.guidance_scale,
      "w of the guidance v_neg + w (v_pos - v_neg); 1: none; few_step uses none");
    v("negative_prompt", c.negative_prompt, "prompt that guidance moves away from; may be empty");
    v("seed", c.seed, "seed of the sampling noise, any integer");
    v("measure_clips",
      c.measure_clips,
      "videos of held-out moving-shape captions that are sampled and measured at the end; 0: none");
    v("also_few_step",
      c.also_few_step,
      "measured once more with the few-step sampler at these timesteps (before the shift): what "
      "few steps cost without distillation; empty: not");
    v("long_frames",
      c.long_frames,
      "video frames of long videos that are measured for drift at the end, at least two clips; 0: "
      "none");
    v("long_clips", c.long_clips, "number of those long videos; at least 1");
    v("kv_cache_dtype",
      c.kv_cache_dtype,
      "of the latents in a sampled video's cache: auto, as they were computed, or int8, with a "
      "factor for each token, for latent attention; rotary keys stay as they were computed");
    v("cuda_graph",
      c.cuda_graph,
      "vmla sample and vmla bench stream on a GPU: a chunk's passes are recorded when its shape "
      "comes "
      "again, as once the window is full or in a second video, and replayed as CUDA graphs, to the "
      "same bits, in memory of their own");
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
      "what ranks communicate with: auto (nccl on GPUs, gloo on CPUs), or host_staged (GPUs by way "
      "of the host's memory and gloo; several ranks may share a GPU)");
    v("sharding", c.sharding, distributed::sharding_help());
    v("shard_size", c.shard_size, "ranks of a group in hybrid; 0: those of one machine");
    v("sequence_parallel_size",
      c.sequence_parallel_size,
      "neighbouring ranks that share the tokens of a clip; must divide the number of ranks and of "
      "tokens a frame");
    v("gradient_accumulation",
      c.gradient_accumulation,
      "local (full-size gradients on each rank, summed over ranks once a step), scattered (summed "
      "in every backward pass, a rank keeps its part); auto: for full and hybrid what sends least "
      "among what fits in memory, for zero2 scattered, else local");
    v("hold_weights",
      c.hold_weights,
      "for full and hybrid. true: a network that rolls out stays gathered until its weights "
      "change, one that samples until it is done; false: gathered for each pass; auto: what sends "
      "least among what fits in memory");
    v("offload",
      c.offload,
      "what is kept in the host's memory and on the GPU only while in use, a list of: optimizer "
      "(its moments), activations (what train.recompute keeps of blocks), generator_ema, "
      "target_ema, teacher, real_score");
    v("timeout_seconds",
      c.timeout_seconds,
      "seconds to wait for a rank that does not answer before the job ends; above 0");
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
  KernelsConfig kernels;
  EmaConfig ema;
  ValidationConfig validation;
  CheckpointConfig checkpoint;
  RankConfig rank;
  SampleConfig sample;
  DistributedConfig distributed;

  bool operator==(const TrainConfig&) const = default;
  template <class Self, class V>
  static void fields(Self& c, V&& v) {
    v("stage",
      c.stage,
      "name of the stage, and of its folder under runs/: letters, digits, '_', '-' and '.'");
    v("seed",
      c.seed,
      "what all random draws of training follow from (new weights, order of clips, noise, "
      "timesteps); any integer");
    v("init_from",
      c.init_from,
      "weights to start from, for each role of the objective: generator; teacher and target_ema of "
      "consistency_distillation; real_score and fake_score of dmd");
    v("model",
      c.model,
      "The network: Wan2.1's video transformer with dense or with latent self-attention.");
    v("init",
      c.init,
      "How dense weights become the weights of latent attention when the stage starts.");
    v("objective",
      c.objective,
      "What is trained. `name` chooses the objective; only the section of that name may be given.");
    v("data",
      c.data,
      "The clips and captions to train on, and how to make them where they are missing.");
    v("optimizer", c.optimizer, "AdamW of the generator.");
    v("train", c.train, "Length of the stage, batch, precision and device.");
    v("kernels",
      c.kernels,
      "What an operation runs as. auto: fused, on a GPU unless its check at the start of the run "
      "finds another result than the reference's; reference: ATen's operations; fused: whatever "
      "the check says.");
    v("ema", c.ema, "Exponential moving average of the generator's weights.");
    v("validation",
      c.validation,
      "The loss on held-out clips, with the same noise and timesteps every time.");
    v("checkpoint", c.checkpoint, "When checkpoints are saved, and which are kept.");
    v("rank",
      c.rank,
      "Effective rank and spectrum of each layer's latent map, measured during training; of dense "
      "attention, of the joint matrix [W_K; W_V].");
    v("sample",
      c.sample,
      "Videos sampled during training, and measurements of sampled videos at its end.");
    v("distributed",
      c.distributed,
      "How several processes share the work (docs/operations.md); with one process nothing here "
      "matters.");
  }
};

}  // namespace vmla::trainer
