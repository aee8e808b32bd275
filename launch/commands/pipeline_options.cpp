#include "launch/commands/pipeline.h"

#include "trainer/pipeline/cpu_threads.h"
#include "trainer/pipeline/pipeline_config.h"

namespace vmla::launch {

const CommandText PipelineArgs::kText = {"pipeline",
                                         "trains a list of stages, each from the ones before",
                                         R"(Reads a file with
  name: tiny                 # run folder: runs/tiny
  jobs: 2                    # stages that may run side by side
  stages:
    - {name: pretrain, config: pretrain.yaml}
    - {name: tf_svd, config: teacher_forcing.yaml, set: {init.method: svd_weight}}
Paths are relative to the file. A stage whose init_from says {stage: pretrain} waits for that stage. Every stage
is checked before the first one starts. Each writes a run folder of its own under the pipeline's (see vmla train
--help), which ends with summary.json and report.html over all stages.

Run again, finished stages are skipped and an interrupted one goes on. Ctrl-C saves; status 75.

Examples:
  vmla pipeline --config configs/tiny/pipeline.yaml
  vmla pipeline --config configs/tiny/pipeline.yaml --set tf_svd.train.steps=12000 --run-dir runs/longer)"};

void PipelineArgs::define(OptionSet& options) {
  add_config(options,
             *this,
             "the pipeline's yaml file",
             "override a key of one stage: STAGE.key=value; may be repeated")
      .required();
  add_stages(options, *this, "check every stage, print what would run, stop");
}

CpuThreads PipelineArgs::front_check() const {
  trainer::load_pipeline(config, set, run_dir);
  // All cores: the stages share them.
  return {.count = trainer::available_cores(), .asked_for = false};
}

}  // namespace vmla::launch
