#include "launch/commands/data_prompts.h"

#include "launch/shared_options.h"

namespace vmla::launch {

const CommandText DataPromptsArgs::kText = {
    "data prompts",
    "embeds prompts into a set without clips, for distillation",
    R"(One line of the text file is one prompt, an empty line is the empty prompt. The result is a latent dataset
without /latents (docs/formats.md), complete or absent; an interrupted job goes on. With --like it also says which
codec, size and fps the prompts are for, so that a stage that trains on them can show videos.

Example:
  vmla data prompts --prompts prompts.txt --out prompts.h5 --like clips.h5)"};

void DataPromptsArgs::define(OptionSet& options) {
  add_prompts(options, prompts).required();
  options.text("--out", out, "FILE.h5", "prompt set to write").required();
  options.text("--text", text, "TEXT", "text encoder (default: that of --like, else hashing:32x8)");
  add_text_files(options, *this);
  options.text("--negative-prompt",
               negative_prompt,
               "TEXT",
               "stored with its embedding, for training and sampling that steer away from it");
  options.text(
      "--like",
      like,
      "DATASET",
      "dataset of the clips that the prompts are for: codec, size and fps are copied from it");
  add_compute(options, *this, "of the text encoder");
  add_overwrite(options, overwrite, "prompt set");
}

}  // namespace vmla::launch
