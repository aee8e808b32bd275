#include "launch/commands/analyze_init.h"

#include "trainer/config/config_yaml.h"

namespace vmla::launch {

const CommandText AnalyzeInitArgs::kText = {
    "analyze init",
    "scores the ways to make latent attention from dense weights, before training",
    R"(For every init method that can run, the relative error of content keys' and values' weights and the rotary
energy that one shared key keeps, per layer. With --data, which methods that look at activations are calibrated on, and
--held-out, other clips: also the errors of keys, values and attention outputs on those clips, that of the velocity, and
the loss before the first step. Prints a table of means; writes init_scores.csv and init_scores.json.

Example:
  vmla analyze init --weights runs/tiny/pretrain --config configs/tiny/teacher_forcing.yaml --data data/cache/tiny/train.h5 --held-out data/cache/tiny/val.h5 --out scores)"};

void AnalyzeInitArgs::define(OptionSet& options) {
  add_weights(options, weights, "dense weights: ");
  add_config(options, *this, "yaml file with the section `model` (attention: mla)").required();
  options.text("--data",
               data,
               "FILE",
               "latent dataset to calibrate on (init.calibration_clips); without it methods that "
               "look at activations are left out");
  options.text("--held-out", held_out, "FILE", "latent dataset of other clips to score on");
  options.integer_from_1("--held-out-clips", held_out_clips, "how many of them, spread over it")
      .type("N")
      .shows_default();
  options.flag("--budget",
               budget,
               "also print kv_lora_rank per layer, of the same sum, that keeps most of the layers' "
               "keys and values");
  options.flag("--pairs",
               pairs,
               "with --data: also print rope_pair_indices per layer, of the pairs whose shared key "
               "carries most of the logits and whose rotation counts in this window and grid");
  options.text("--out", out, "DIR", "folder for init_scores.csv and init_scores.json").required();
  add_weights_role(options, weights_role);
}

CpuThreads AnalyzeInitArgs::front_check() const {
  trainer::check_config_syntax(config, set);
  return default_threads();
}

}  // namespace vmla::launch
