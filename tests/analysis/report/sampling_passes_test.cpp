#include "analysis/report/sampling_passes.h"

#include <gtest/gtest.h>

namespace vmla::analysis {
namespace {

TEST(SamplingPasses, OfAStudentAreItsOwnUnlessTheFileSaysOtherwise) {
  RunContents run;
  run.config = {{"objective.name", "dmd"},
                {"objective.dmd.denoising_step_list", "[1000, 750, 500, 250]"},
                {"sample.sampler", "auto"},
                {"sample.steps", "50"},
                {"sample.guidance_scale", "3"}};
  EXPECT_EQ(sampling_passes(run), "4 passes");
  run.config["sample.sampler"] = "unipc";
  EXPECT_EQ(sampling_passes(run), "50 × 2 passes");
  run.config["sample.sampler"] = "auto";
  run.config["objective.name"] = "teacher_forcing";
  EXPECT_EQ(sampling_passes(run), "50 × 2 passes");
}

}  // namespace
}  // namespace vmla::analysis
