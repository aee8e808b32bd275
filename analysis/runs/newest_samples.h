#pragma once

#include "analysis/runs/run_contents.h"

namespace vmla::analysis {

/// Fills in run.sample_step and run.samples: the videos of the newest step in the run folder's
/// samples/, with a line in run.problems where samples.json, which names their prompts, is missing.
void read_newest_samples(RunContents& run);

}  // namespace vmla::analysis
