#include "launch/commands/data_ode.h"

#include "model/sampling/flow_match_schedule.h"

namespace vmla::launch {

const CommandText DataOdeArgs::kText = {
    "data ode",
    "stores clips with a causal teacher's ODE path to each",
    R"(Makes the data of ode_regression. For each clip, the teacher's ODE is followed from noise with Euler steps, where
every chunk sees the clean chunks before it. The states at the student's timesteps are stored, and the last one. The
result is a latent dataset with /ode and /ode_times (docs/formats.md), complete or absent; an interrupted job goes on.

Example:
  vmla data ode --checkpoint runs/tiny/tf_svd --data data/cache/tiny/train.h5 --out ode.h5 --limit 200 --batch 8)"};

void DataOdeArgs::define(OptionSet& options) {
  options
      .text("--checkpoint",
            checkpoint,
            "PATH",
            "the causal teacher (of stage 1): a step's folder, `latest`, or a run folder")
      .required();
  add_checkpoint_weights(options, *this);
  options.text("--data", data, "FILE.h5", "dataset of clips").required();
  options.text("--out", out, "FILE.h5", "ODE set to write").required();
  options.integer_from_1("--steps", steps, "Euler steps from noise to a clip").shows_default();
  add_guidance(options, guidance).shows_default();
  add_negative_prompt(options, negative_prompt);
  options.numbers_from_0("--denoising-steps",
                         denoising_steps,
                         "the student's timesteps, before the timestep shift; each must be a point "
                         "of the Euler grid (default: 1000,750,500,250)");
  options.number_above_0("--shift", shift, "timestep shift (default: the checkpoint's)");
  options
      .choice("--way",
              way,
              {"cached", "doubled"},
              "cached: chunk by chunk against a cache; doubled: all chunks at once, which gives "
              "the same states and is slower")
      .shows_default();
  add_seed(options, seed);
  options.integer_from_0("--limit", limit, "only the first N clips; 0: all")
      .type("N")
      .shows_default();
  add_batch(options, batch, "clips at once");
  add_dtype(options, dtype, "type of the stored states");
  add_text_files(options, *this);
  add_compute(options, *this);
  add_overwrite(options, overwrite, "ODE set");
}

void DataOdeArgs::check() const {
  model::warped_step_list(denoising_steps, /*shift=*/1.0, "data ode: --denoising-steps");
}

}  // namespace vmla::launch
