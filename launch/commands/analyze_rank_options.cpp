#include "launch/commands/analyze_rank.h"

namespace vmla::launch {

const CommandText AnalyzeRankArgs::kText = {
    "analyze rank",
    "effective rank of the latent map in checkpoints",
    R"(Per layer of models with latent attention: entropy rank, r_0.99, stable rank and spectrum of the composed map
kv_b diag(norm) kv_a, beside matrices without structure; with several checkpoints of a run, or --start, how far the
down-projection's rows have turned; with --data, the ranks of the latents of real clips. Writes rank.h5 in the layout of
a run folder, CSV, SVG and HTML.

Example:
  vmla analyze rank --checkpoint runs/tiny/tf_svd --checkpoint runs/tiny/tf_random --out ranks)"};

void AnalyzeRankArgs::define(OptionSet& options) {
  options
      .texts("--checkpoint",
             checkpoints,
             "PATH...",
             "checkpoints, run folders or exports; several make a curve")
      .required();
  options.text("--data", data, "PATH", "latent dataset whose clips' latents are measured");
  options.integer_from_1("--clips", clips, "how many of them, the first ones").shows_default();
  options.text(
      "--start",
      start,
      "PATH",
      "checkpoint from which the down-projections have turned (default: the first one given "
      "of each run)");
  options.text("--out", out, "DIR", "folder for rank.h5, CSV, SVG and HTML").required();
}

}  // namespace vmla::launch
