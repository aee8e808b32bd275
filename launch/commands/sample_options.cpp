#include "launch/commands/sample.h"

#include "launch/prompts_over_time.h"
#include "model/io/error.h"
#include "model/sampling/flow_match_schedule.h"
#include "trainer/distributed/job/rank_environment.h"

namespace vmla::launch {

const CommandText SampleArgs::kText = {
    "sample",
    "generates videos from a checkpoint, chunk by chunk",
    R"(Streams each video in constant memory: the attention cache holds the sink and the last frames only. Writes
000.mp4, 001.mp4, ... in the order of the prompts, and samples.json (prompt, seed, frames, fps, seconds a chunk,
time to the first chunk, frames per second, cache bytes). A prompt's video depends on the seed and on its place in the
list, not on the other prompts. The videos that a samples.json in the folder names are removed first. Started as
several ranks (vmla-launch), each with a GPU or with the threads of OMP_NUM_THREADS (1 unless it is set), it makes the same
videos, divided among them; with --batch up to rounding.

The sampler is the one the checkpoint was trained for: a distilled student's is few_step with its own timesteps, any
other's stands in its configuration under `sample`. --sampler forces one on any checkpoint. few_step predicts the clean
chunk at each of its timesteps and adds fresh noise for the next; it uses no guidance unless --guidance asks for it, so
that a step is one pass. unipc and euler take --steps passes for each chunk. The window is the one trained with, unless
--local-attn-size or --sink-size asks for another. Without a window, a video can have 1024 latent frames.

Examples:
  vmla sample --checkpoint runs/tiny/tf_svd --prompt "a red circle moves left" --frames 27 --out videos
  vmla sample --checkpoint runs/tiny/tf_svd --prompts prompts.txt --frames 9 --out videos --sampler euler --steps 16
  vmla sample --checkpoint runs/tiny/tf_svd --prompt "a red circle moves left" --frames 27 --out videos \
    --sampler few_step --denoising-steps 1000,750,500,250
  vmla sample --checkpoint runs/tiny/tf_svd --out videos --prompt-switch recache \
    --prompts-over-time "a red circle moves left[5s] | a blue square moves up[5s]"
  vmla-launch --nproc-per-node 8 -- vmla sample --checkpoint runs/wan/dmd --device cuda --prompts prompts.txt --out videos)"};

namespace {

void define_prompts(OptionSet& options, SampleArgs& args) {
  options.text("--prompt", args.prompt, "TEXT", "one prompt (may be empty)");
  add_prompts(options, args.prompts);
  options.text("--prompts-over-time",
               args.prompts_over_time,
               "TEXT",
               "one video whose prompt changes: \"text[10s] | other text[5s]\"; a prompt begins "
               "with the first chunk at or after its time");
  options.choice("--prompt-switch",
                 args.prompt_switch,
                 {"flush", "recache", "keep"},
                 "what becomes of the cache when the prompt changes: flush keeps the sink and the "
                 "last two frames; recache computes all frames again under the new prompt; keep "
                 "leaves it as it is (default: flush)");
}

void define_sampler(OptionSet& options, SampleArgs& args) {
  options.choice("--sampler",
                 args.sampler,
                 {"few_step", "unipc", "euler"},
                 "how a chunk is sampled (default: as the checkpoint was trained for)");
  options
      .integer_from_1(
          "--steps", args.steps, "sampler steps of each chunk; few_step spaces them evenly")
      .type("K");
  options.numbers_from_0("--denoising-steps",
                         args.denoising_steps,
                         "timesteps of few_step, in falling order and before the timestep shift, "
                         "such as 1000,750,500,250");
  options.numbers_from_0("--first-chunk-denoising-steps",
                         args.first_chunk_denoising_steps,
                         "the same for the first chunk, if it takes others");
  options
      .integer("--local-attn-size",
               args.local_attn_size,
               "attended latent frames, sink and own chunk included, instead of the checkpoint's; "
               "-1: all")
      .type("N");
  options
      .integer_from_0("--sink-size",
                      args.sink_size,
                      "first latent frames that are never evicted, instead of the checkpoint's")
      .type("N");
  options.choice("--kv-cache-dtype",
                 args.kv_cache_dtype,
                 {"auto", "int8"},
                 "what the cache keeps latents as: as they are computed, or in eight bits "
                 "(default: as the checkpoint's sample.kv_cache_dtype says)");
  options.flag("--cuda-graph",
               args.cuda_graph,
               "on a GPU: record a chunk's passes once its shape comes again, and replay them as a "
               "CUDA graph (also where the checkpoint's sample.cuda_graph says so)");
  add_guidance(options, args.guidance);
  add_negative_prompt(options, args.negative_prompt);
}

void check_prompts(const SampleArgs& args) {
  const int given = (args.prompt ? 1 : 0) + (args.prompts.empty() ? 0 : 1) +
                    (args.prompts_over_time.empty() ? 0 : 1);
  if (given != 1) {
    fail_user(
        "sample: give either --prompt TEXT or --prompts FILE{}; or --prompts-over-time TEXT alone",
        given > 1 ? ", not both" : "");
  }
  if (args.batch > 1 && !args.prompts_over_time.empty()) {
    fail_user("sample: --prompts-over-time makes one video, of which --batch {} has no use",
              args.batch);
  }
  if (args.prompts_over_time.empty()) {
    if (!args.prompt_switch.empty()) {
      fail_user("sample: --prompt-switch {} needs --prompts-over-time", args.prompt_switch);
    }
  } else if (!parse_prompts_over_time(args.prompts_over_time).back().seconds && args.frames == 0) {
    fail_user(
        "sample: --prompts-over-time does not say how long the last prompt lasts; give it seconds, "
        "or --frames");
  }
}

void check_layout(const SampleArgs& args) {
  const bool vbench = args.layout == "vbench";
  if (!vbench && !args.generate_with.empty())
    fail_user("sample: --generate-with {} needs --layout vbench", args.generate_with);
  if (vbench && args.prompts.empty())
    fail_user("sample: --layout vbench needs --prompts VBench_full_info.json");
  const bool several = vbench || args.samples_per_prompt.value_or(1) > 1;
  if (several && !args.noise.empty())
    fail_user("sample: --noise {} is for one video of each prompt", args.noise);
  if (several && !args.prompts_over_time.empty())
    fail_user("sample: --prompts-over-time makes one video; give it a --seed for another");
}

/// `list` is what `option` was given: timesteps of few_step, in falling order.
void check_step_list(const SampleArgs& args,
                     const std::vector<double>& list,
                     const std::string& option) {
  if (list.empty()) return;
  model::warped_step_list(list, /*shift=*/1.0, "sample: " + option);
  if (!args.sampler.empty() && args.sampler != "few_step") {
    fail_user("sample: {} is for --sampler few_step; {} takes --steps", option, args.sampler);
  }
  if (args.steps) fail_user("sample: give either --steps or {}, not both", option);
}

}  // namespace

void SampleArgs::define(OptionSet& options) {
  add_checkpoint(options, *this);
  define_prompts(options, *this);
  options
      .integer_from_1("--frames",
                      frames,
                      "video frames; whole chunks are computed and trimmed (default: as many as a "
                      "training clip has, with --prompts-over-time as long as the prompts last)")
      .type("N");
  options.text("--out", out, "DIR", "where 000.mp4, 001.mp4, ... and samples.json go").required();
  add_seed(options, seed).type("S");
  options
      .choice("--layout",
              layout,
              {"numbered", "vbench"},
              "names of the videos: numbered, or PROMPT-0.mp4, PROMPT-1.mp4, ... as VBench looks "
              "for them; --prompts is then VBench_full_info.json, and videos that are there stay")
      .shows_default();
  options.text("--generate-with",
               generate_with,
               "FILE",
               "with --layout vbench: line i is given to the model in place of prompt i, whose "
               "name the video keeps");
  options
      .integer_from_1(
          "--samples-per-prompt",
          samples_per_prompt,
          "videos of each prompt, each from noise of its own: 000-0.mp4, 000-1.mp4, ... "
          "(default: 1; with --layout vbench 5, of temporal_flickering 25)")
      .type("N");
  add_batch(options,
            batch,
            "videos sampled at once, each with a cache and a decoder's state; a video is then the "
            "same up to rounding");
  add_checkpoint_weights(options, *this);
  define_sampler(options, *this);
  add_text_files(options, *this);
  options.text("--noise",
               noise,
               "FILE",
               "safetensors with `noise` [prompts, F, C, H, W] instead of the seed's, and "
               "`renoise` [times, prompts, F, C, H, W] for few_step");
  options.choice("--decoder",
                 decoder,
                 {"wan-vae", "taew2_1", "lighttaew2_1"},
                 "what turns latents of wan-vae into pixels (default: the training clips' codec)");
  options.text("--decoder-weights",
               decoder_weights,
               "PATH",
               "the decoder's weights (default for the training clips' codec: what the "
               "checkpoint's data.codec_weights names)");
  add_compute(options, *this);
  options.flag("--save-latents", save_latents, "also write NNN.safetensors");
}

void SampleArgs::check() const {
  check_prompts(*this);
  check_layout(*this);
  check_step_list(*this, denoising_steps, "--denoising-steps");
  check_step_list(*this, first_chunk_denoising_steps, "--first-chunk-denoising-steps");
}

CpuThreads SampleArgs::front_check() const {
  return default_threads(distributed::rank_environment().local_world_size);
}

std::optional<std::string> SampleArgs::one_process() const {
  if (prompts_over_time.empty()) return std::nullopt;
  return "vmla sample --prompts-over-time makes one video";
}

}  // namespace vmla::launch
