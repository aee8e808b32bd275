#include "launch/commands/data_generate.h"

namespace vmla::launch {

const CommandText DataGenerateArgs::kText = {
    "data generate",
    "samples a dataset of clips from a bidirectional teacher",
    R"(Makes clips for stages that need some, where there are none. The clips of each prompt are sampled with all frames at
once, and stored as a latent dataset (docs/formats.md), complete or absent; an interrupted job goes on. A checkpoint
says its codec, text encoder and clip size itself; for other weights give --codec, --text, --fps, --frames, --height
and --width.

Example:
  vmla data generate --weights runs/tiny/pretrain --prompts prompts.txt --out clips.h5 --guidance 2 --steps 16)"};

namespace {

/// What a checkpoint says of the clips it was trained on, and other weights do not.
void define_clips(OptionSet& options, DataGenerateArgs& args) {
  options
      .integer_from_1(
          "--frames", args.frames, "latent frames of a clip (default: the checkpoint's)")
      .type("N");
  options.integer_from_1("--height", args.height, "pixel rows (default: the checkpoint's)");
  options.integer_from_1("--width", args.width, "pixel columns (default: the checkpoint's)");
  options.text(
      "--codec", args.codec, "TEXT", "video codec of the latents (default: the checkpoint's)");
  add_codec_weights(options, args.codec_weights);
  options.text("--text", args.text, "TEXT", "text encoder (default: the checkpoint's)");
  options.number_above_0("--fps", args.fps, "frames a second (default: the checkpoint's)");
}

}  // namespace

void DataGenerateArgs::define(OptionSet& options) {
  add_weights(options, weights, "a bidirectional model: ");
  add_weights_role(options, weights_role);
  add_prompts(options, prompts).required();
  options.text("--out", out, "FILE.h5", "dataset to write").required();
  options.integer_from_1("--count-per-prompt", count_per_prompt, "clips of each prompt")
      .type("N")
      .shows_default();
  add_batch(options, batch, "clips sampled at once");
  options.choice("--sampler", sampler, {"unipc", "euler"}, "how a clip is sampled").shows_default();
  options.integer_from_1("--steps", steps, "sampler steps").shows_default();
  add_guidance(options, guidance).shows_default();
  options.number_above_0("--shift", shift, "timestep shift of the sampler").shows_default();
  add_negative_prompt(options, negative_prompt);
  add_seed(options, seed);
  add_compute(options, *this);
  define_clips(options, *this);
  add_text_files(options, *this);
  add_overwrite(options, overwrite, "dataset");
}

}  // namespace vmla::launch
