#include "launch/commands/text_encode.h"

#include "launch/shared_options.h"

namespace vmla::launch {

const CommandText TextEncodeArgs::kText = {
    "text encode",
    "embeds prompts with the UMT5 encoder of Wan",
    R"(Writes embeddings [sum of T, dim] (F32), offsets [n + 1] and token_ids [sum of T] (I64): rows offsets[i] to
offsets[i + 1] belong to prompt i. One line of the text file is one prompt, an empty line is the empty prompt. Prompts
are cleaned (docs/algorithms.md 18.3), and end with </s> after at most text_len - 1 pieces. The weights are mapped,
not copied: on a CPU the job needs memory for one matrix.

Example:
  vmla text encode --weights Wan2.1-T2V-1.3B/text_encoder --tokenizer Wan2.1-T2V-1.3B/google/umt5-xxl \
    --prompts prompts.txt --output prompts.safetensors)"};

void TextEncodeArgs::define(OptionSet& options) {
  options
      .text("--weights",
            weights,
            "PATH",
            "the encoder: a file in Wan's or transformers' names, or a folder with config.json")
      .required();
  options.text("--tokenizer", tokenizer, "PATH", "spiece.model, or the folder that holds it")
      .required();
  add_prompts(options, prompts).required();
  options.text("--output", output, "FILE", "safetensors to write").required();
  options.integer_from_1("--text-len", text_len, "most rows of a prompt").type("T").shows_default();
  add_compute(options, *this);
}

}  // namespace vmla::launch
