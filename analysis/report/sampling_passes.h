#pragma once

#include <string>

#include "analysis/runs/run_contents.h"

/// How many network passes a chunk of a run's sampled videos takes, told from its configuration.
namespace vmla::analysis {

/// Whether the stage's own samples take the few steps of a student: sample.sampler says so, or is
/// "auto" where the stage trains a student.
bool samples_in_few_steps(const RunContents& run);

/// "16 × 2 passes" with guidance, "4 passes" without or in few steps; "" when unknown.
std::string sampling_passes(const RunContents& run);

/// The same for the samples that a many-step stage takes in the few steps of sample.also_few_step
/// as well; "" where it takes none.
std::string forced_passes(const RunContents& run);

}  // namespace vmla::analysis
