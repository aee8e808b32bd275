#include "launch/commands/compare.h"

namespace vmla::launch {

const CommandText CompareArgs::kText = {
    "compare",
    "two runs side by side, or a run against a reference trace",
    R"(RUN_A RUN_B: losses, gradient norms and ranks at the same steps (means over intervals that grow with the step, so
noise does not hide a difference), final quality, and the settings that differ. Pipelines are compared stage by stage.

RUN REFERENCE: is this run healthy? A reference trace (configs/tiny/reference/STAGE.json, or that folder for all
stages of a pipeline) holds the curves and final figures of runs with several seeds, and a band around each. For every
curve and figure it is said whether this run's lies in the band, or else where it first leaves it and by how much; the
last line is the verdict. The status is 0 either way; with --check it is 1 outside the band.

--make-reference OUT RUN RUN...: makes such traces from runs that differ in their seeds. docs/formats.md says
how wide a band is.

Examples:
  vmla compare runs/tiny/tf_svd runs/tiny/tf_random --out comparison
  vmla compare runs/tiny configs/tiny/reference
  vmla compare --make-reference configs/tiny/reference runs/seed0 runs/seed1 runs/seed2)"};

void CompareArgs::define(OptionSet& options) {
  options
      .texts("runs",
             runs,
             "RUN...",
             "RUN_A RUN_B: run folders of vmla train or vmla pipeline; instead of RUN_B a "
             "reference trace, or a folder of them")
      .required();
  options.text("--out", out, "DIR", "also write comparison.csv and comparison.html there");
  options.flag("--check", check_band, "status 1 when the run lies outside the reference's band");
  options.text("--make-reference",
               make_reference,
               "OUT",
               "make a reference trace of these runs, which differ in their seeds (pipelines: a "
               "folder, one trace a stage)");
}

}  // namespace vmla::launch
