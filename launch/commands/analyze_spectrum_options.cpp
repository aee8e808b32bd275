#include "launch/commands/analyze_spectrum.h"

namespace vmla::launch {

const CommandText AnalyzeSpectrumArgs::kText = {
    "analyze spectrum",
    "singular spectra of a dense model's key and value weights",
    R"(Per layer, for W_K, W_V and the joint [W_K; W_V]: singular values, entropy rank, r_0.99 (the least rank that
holds 99 % of the energy) and the energy at given ranks, each beside matrices without structure. Writes CSV, HDF5, SVG
and HTML. Takes any transformer: Wan, diffusers, BERT, Llama, T5, GPT-2 and their like are recognised; a name map says
what others call their keys and values:

  k: encoder.{layer}.attention.key.weight
  v: encoder.{layer}.attention.value.weight

Examples:
  vmla analyze spectrum --weights runs/tiny/pretrain --out spectrum
  vmla analyze spectrum --weights bert/model.safetensors --kv-heads 12 --out spectrum)"};

void AnalyzeSpectrumArgs::define(OptionSet& options) {
  options
      .text("--weights",
            weights,
            "PATH",
            "dense weights: a checkpoint, a folder, or a file of safetensors or torch.save")
      .required();
  options.text(
      "--map", map, "FILE", "yaml file that says what the weights call their keys and values");
  options.integer_from_0("--kv-heads",
                         kv_heads,
                         "heads of keys and values, for the spectrum of each (default: as the "
                         "weights say; 0: none)");
  options.text("--out", out, "DIR", "folder for CSV, HDF5, SVG and HTML").required();
}

}  // namespace vmla::launch
