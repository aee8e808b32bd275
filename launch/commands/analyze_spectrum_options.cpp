#include "launch/commands/analyze_spectrum.h"

namespace vmla::launch {

const CommandText AnalyzeSpectrumArgs::kText = {
    "analyze spectrum",
    "singular spectra of a dense model's key and value weights",
    R"(Per layer, for W_K, W_V and the joint [W_K; W_V]: singular values, r_0.99 (the least rank that holds 99 % of
the energy) and the energy at given ranks. Writes CSV, HDF5, SVG and HTML.

Example:
  vmla analyze spectrum --weights runs/tiny/pretrain --out spectrum)"};

void AnalyzeSpectrumArgs::define(OptionSet& options) {
  options
      .text("--weights",
            weights,
            "PATH",
            "dense weights: a checkpoint, a folder or a safetensors file")
      .required();
  options.text("--map",
               map,
               "FILE",
               "yaml file that says what the file calls our tensors, if it has other names");
  options.text("--out", out, "DIR", "folder for CSV, HDF5, SVG and HTML").required();
}

}  // namespace vmla::launch
