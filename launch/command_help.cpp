#include "launch/command_help.h"

#include <map>

namespace vmla::launch {
namespace {

const std::map<std::string, CommandHelp>& all_help() {
  static const std::map<std::string, CommandHelp> kHelp = {
      {"",
       {"vmla: trains causal video diffusion transformers with latent attention (VideoMLA)",
        R"(First steps, on a CPU, in minutes:
  vmla pipeline --config configs/tiny/pipeline.yaml     trains everything, writes runs/tiny/report.html
  vmla sample --checkpoint runs/tiny/tf_svd --prompt "a red circle moves left" --frames 27 --out videos

Your own videos:
  vmla data encode --videos DIR --out clips.h5          videos + captions -> latents
  vmla data inspect clips.h5
  vmla train --config stage.yaml --set data.path=clips.h5

`vmla COMMAND --help` says what a command reads and writes; `vmla train --list-keys` lists the configuration.
Exit status: 0 done; 2 the input was wrong (one line on stderr); 1 a fault; 75 stopped on request after saving,
run again to go on.)"}},
      {"train",
       {"trains one stage",
        R"(Reads a stage's yaml file (configs/), makes or opens its data, trains, and writes a run folder:
  config.yaml        the complete configuration; train --config of it repeats the run
  metrics.jsonl      one object a step: loss, gradient norm, learning rate, times, tokens/s
  rank.h5            effective rank and spectrum of every latent-attention layer over the steps
  samples/step_N/    videos; checkpoints/step_N/, checkpoints/latest
  report.html        losses, rank curves, videos; opens offline
  summary.json, log.txt

Ctrl-C, SIGTERM and SIGHUP save and stop with status 75; the same command goes on from there, bit for bit.
Changing the model, data, seed or batch of a started run is refused; steps, rates and intervals may change.

Examples:
  vmla train --config configs/tiny/pretrain.yaml
  vmla train --config configs/tiny/pretrain.yaml --set train.steps=2000 --set optimizer.lr=2e-3 --run-dir runs/long
  vmla train --config configs/wan1.3b/teacher_forcing.yaml --dry-run
  vmla train --list-keys)"}},
      {"pipeline",
       {"trains a list of stages, each from the ones before",
        R"(Reads a file with
  name: tiny                 # run folder: runs/tiny
  jobs: 2                    # stages that may run side by side
  stages:
    - {name: pretrain, config: pretrain.yaml}
    - {name: tf_svd, config: teacher_forcing.yaml, set: {init.method: svd_weight}}
Paths are relative to the file. A stage whose init_from says {stage: pretrain} waits for that stage. Every stage
is checked before the first one starts. Each writes a run folder of its own under the pipeline's (see vmla train
--help), which ends with summary.json and report.html over all stages.

Run again, finished stages are skipped and an interrupted one goes on. Ctrl-C saves; status 75.

Examples:
  vmla pipeline --config configs/tiny/pipeline.yaml
  vmla pipeline --config configs/tiny/pipeline.yaml --set tf_svd.model.kv_lora_rank=12 --run-dir runs/rank12)"}},
      {"compare",
       {"two runs side by side, or a run against a reference trace",
        R"(RUN_A RUN_B: losses, gradient norms and ranks at the same steps (means over intervals that grow with the step, so
noise does not hide a difference), final quality, and the settings that differ. Pipelines are compared stage by stage.

RUN REFERENCE: is this run healthy? A reference trace (configs/tiny/reference/STAGE.json, or that folder for all
stages of a pipeline) holds what runs with several seeds did, and a band about it. Every curve and figure is healthy or
outside, with where first and by how much; the last line is the verdict. The status is 0 either way; with --check it
is 1 outside the band.

--make-reference OUT RUN RUN...: makes such traces from runs that differ in their seeds. docs/formats.md has the rule.

Examples:
  vmla compare runs/tiny/tf_svd runs/tiny/tf_random --out comparison
  vmla compare runs/tiny configs/tiny/reference
  vmla compare --make-reference configs/tiny/reference runs/seed0 runs/seed1 runs/seed2)"}},
      {"sample",
       {"generates videos from a checkpoint, chunk by chunk",
        R"(Streams each video in constant memory: the attention cache holds the sink and the last frames only. Writes
000.mp4, 001.mp4, ... in the order of the prompts, and samples.json (prompt, seed, frames, fps, seconds a chunk,
time to the first chunk, frames per second, cache bytes). A prompt's video does not depend on the other prompts.

The sampler is the one the checkpoint was trained for: few_step, at its own list, for a distilled student, else what
its configuration says under `sample`. Either can be forced on any checkpoint. few_step predicts the clean chunk at
each listed step and adds fresh noise for the next; it uses no guidance unless --guidance asks for it, so a step is
one pass. unipc and euler take --steps passes a chunk. A window other than the one trained with is only used when
--local-attn-size or --sink-size asks for it. Without a window, a video can have 1024 latent frames.

Examples:
  vmla sample --checkpoint runs/tiny/tf_svd --prompt "a red circle moves left" --frames 27 --out videos
  vmla sample --checkpoint runs/tiny/tf_svd --prompts prompts.txt --frames 9 --out videos --sampler euler --steps 16
  vmla sample --checkpoint runs/tiny/tf_svd --prompt "a red circle moves left" --frames 27 --out videos \
    --sampler few_step --denoising-steps 1000,750,500,250
  vmla sample --checkpoint runs/tiny/tf_svd --out videos --prompt-switch recache \
    --prompts-over-time "a red circle moves left[5s] | a blue square moves up[5s]")"}},
      {"init",
       {"converts dense weights to latent attention",
        R"(Applies init.method of the configuration to a dense model and writes the converted model as a videomla export
(config.json and safetensors), with a report of what each layer lost: init_report.json. With model.bias: false the
query biases and rotary key biases of the dense model have no place to go, and one line says how much they were.

Example:
  vmla init --weights runs/tiny/pretrain --config configs/tiny/teacher_forcing.yaml --out converted)"}},
      {"step",
       {"evaluates the training objective once, on given tensors",
        R"(Every random draw comes from --inputs, so that another implementation can be compared. For teacher_forcing:
clean_latents and noise [B, F, C, H, W], timesteps [B, F], text [B, T, text_dim]. Writes loss, grad_norm, and
grad_norm.TENSOR for every trained tensor.

Example:
  vmla step --config runs/tiny/tf_svd/config.yaml --inputs in.safetensors --output out.safetensors)"}},
      {"forward",
       {"evaluates the network once, on given tensors",
        R"(Reads latents [B, F, C, H, W], timesteps [B, F] (0 to 1000), text [B, T, text_dim] and, for the modes
teacher_forcing and cached, clean_latents; writes flow [B, F, C, H, W]. All F32. `cached` runs chunk by chunk
against a cache of the clean chunks, and equals teacher_forcing.

Example:
  vmla forward --weights runs/tiny/tf_svd --inputs in.safetensors --output out.safetensors --mode cached)"}},
      {"convert",
       {"converts dense weights between Wan and diffusers names",
        R"(The layout of --in is found by its tensor names; --out gets the other one.

Example:
  vmla convert --in Wan2.1-T2V-1.3B-Diffusers --out wan1.3b.safetensors)"}},
      {"export",
       {"writes a checkpoint in the layout of an inference engine",
        R"(Writes the weights with a config.json and export_manifest.json (hashes, and which check passed with what
error). A model with latent attention has no exact dense form: use videomla.

Example:
  vmla export --checkpoint runs/tiny/tf_svd --format videomla --out exported --dtype fp32)"}},
      {"analyze", {"spectra and effective ranks of weights, memory of a stage", ""}},
      {"analyze spectrum",
       {"singular spectra of a dense model's key and value weights",
        R"(Per layer, for W_K, W_V and the joint [W_K; W_V]: singular values, r_0.99 (the least rank that holds 99 % of
the energy) and the energy at given ranks. Writes CSV, HDF5, SVG and HTML.

Example:
  vmla analyze spectrum --weights runs/tiny/pretrain --out spectrum)"}},
      {"analyze rank",
       {"effective rank of the latent map in checkpoints",
        R"(Per layer of models with latent attention: r_0.99, stable rank, entropy rank and spectrum of the composed map
kv_b diag(norm) kv_a. Writes rank.h5 in the layout of a run folder, CSV, SVG and HTML.

Example:
  vmla analyze rank --checkpoint runs/tiny/tf_svd --checkpoint runs/tiny/tf_random --out ranks)"}},
      {"analyze memory",
       {"what a stage needs, before it starts",
        R"(Per role: parameters, weights, gradients and optimizer state; the peak of a step by phase (rollout, scores,
forward, backward), of tensors; checkpoint, cache of a video being sampled beside a dense model's, FLOPs by phase.
The step is run on tensors that have sizes and no data, so neither the dataset nor the weights have to be there:
sizes of a score are read from its weights where those exist, else from its preset, else a dense twin of the
generator stands in, and the table says which. `vmla train --dry-run` prints the same table.

Examples:
  vmla analyze memory --config configs/wan1.3b/teacher_forcing.yaml --gpus 8 --gpu-memory 80
  vmla analyze memory --config configs/wan1.3b/dmd.yaml --gpus 64 --set distributed.sharding=hybrid
  vmla analyze memory --config configs/tiny/dmd.yaml --set train.recompute=block --json memory.json)"}},
      {"data", {"makes, encodes and inspects training data", ""}},
      {"data synth",
       {"renders captioned moving shapes as video files",
        R"(Clips of "a COLOUR SHAPE moves DIRECTION" with a captions file: the data of the tiny pipeline.

Example:
  vmla data synth --out videos --count 240)"}},
      {"data encode",
       {"turns videos and captions into a latent dataset",
        R"(Every video is decoded in a process of its own: one that cannot be read is skipped, counted and listed.
Frames are resampled in time, resized keeping their aspect, cropped, encoded; captions are embedded. The result
is one HDF5 file (docs/formats.md), complete or absent; an interrupted job goes on.

Example:
  vmla data encode --videos videos --out clips.h5 --frames 9 --height 16 --width 16 --fps 8)"}},
      {"data prompts",
       {"embeds prompts into a set without clips, for distillation",
        R"(One line of the text file is one prompt, an empty line is the empty prompt. The result is a latent dataset
without /latents (docs/formats.md), complete or absent; an interrupted job goes on. With --like it also says which
codec, size and fps the prompts are for, so that a stage that trains on them can show videos.

Example:
  vmla data prompts --prompts prompts.txt --out prompts.h5 --like clips.h5)"}},
      {"data generate",
       {"samples a dataset of clips from a bidirectional teacher",
        R"(Clips for the stages that need some and have none: each prompt's are sampled with all frames at once and stored as
a latent dataset (docs/formats.md), complete or absent; an interrupted job goes on. A checkpoint says its codec, text
encoder and clip size itself; for other weights give --codec, --text, --fps, --frames, --height and --width.

Example:
  vmla data generate --weights runs/tiny/pretrain --prompts prompts.txt --out clips.h5 --guidance 2 --steps 16)"}},
      {"data ode",
       {"stores clips with a causal teacher's ODE path to each",
        R"(For ode_regression. For each clip, Euler steps of the teacher from noise, every chunk given the clean clip before
it; kept are the states before the student's steps, and the end. The result is a latent dataset with /ode and /ode_times
(docs/formats.md), complete or absent; an interrupted job goes on.

Example:
  vmla data ode --checkpoint runs/tiny/tf_svd --data data/cache/tiny/train.h5 --out ode.h5 --limit 200 --batch 8)"}},
      {"data inspect",
       {"prints what a latent dataset holds, and checks it",
        R"(Counts, shapes, codec, text encoder, captions; checks the file; renders a contact sheet.

Example:
  vmla data inspect clips.h5)"}},
  };
  return kHelp;
}

}  // namespace

const CommandHelp& command_help(const std::string& command) {
  return all_help().at(command);
}

}  // namespace vmla::launch
