#include "launch/commands/analyze_rank.h"

namespace vmla::launch {

const CommandText AnalyzeRankArgs::kText = {
    "analyze rank",
    "effective rank of the latent map in checkpoints",
    R"(Per layer of models with latent attention: r_0.99, stable rank, entropy rank and spectrum of the composed map
kv_b diag(norm) kv_a. Writes rank.h5 in the layout of a run folder, CSV, SVG and HTML.

Example:
  vmla analyze rank --checkpoint runs/tiny/tf_svd --checkpoint runs/tiny/tf_random --out ranks)"};

void AnalyzeRankArgs::define(OptionSet& options) {
  options
      .texts("--checkpoint",
             checkpoints,
             "PATH...",
             "checkpoints, run folders or exports; several make a curve")
      .required();
  options.text("--out", out, "DIR", "folder for rank.h5, CSV, SVG and HTML").required();
}

}  // namespace vmla::launch
