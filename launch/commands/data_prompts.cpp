#include "launch/commands/data_prompts.h"

#include "data/encode/encode_prompts.h"
#include "data/encode/prompt_file.h"
#include "data/store/latent_dataset.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

namespace vmla::launch {

int run(const DataPromptsArgs& args) {
  data::PromptsOptions options;
  options.prompts = data::read_prompt_file(args.prompts);
  options.out = args.out;
  options.overwrite = args.overwrite;
  if (!args.like.empty()) {
    options.clips = data::LatentDataset(args.like).info();
    options.text = options.clips.text_encoder;
  }
  if (args.text) options.text = *args.text;
  options.text_options = text_encoder_options(args, args);
  options.negative_prompt = args.negative_prompt;
  const data::PromptsReport report = data::encode_prompts(options);
  log::info("{}: {} in {:g} s", args.out, io::counted(report.prompts, "prompt"), report.seconds);
  return kDone;
}

}  // namespace vmla::launch
