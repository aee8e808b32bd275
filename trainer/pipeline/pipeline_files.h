#pragma once

#include <string>

#include "trainer/pipeline/pipeline_config.h"

/// What a pipeline's run folder holds besides its stages' folders (docs/formats.md "Run folder").
namespace vmla::trainer {

/// The text of pipeline.yaml, for people, and the mark of a pipeline's folder. Stages' files are
/// `configs/STAGE.yaml`, so that it can be run again: `vmla pipeline --config RUN/pipeline.yaml
/// --run-dir RUN`.
std::string pipeline_yaml(const PipelineConfig& pipeline);

/// Writes summary.json: every stage's own, by name. RunError where one is missing or damaged.
void write_pipeline_summary(const PipelineConfig& pipeline);

}  // namespace vmla::trainer
