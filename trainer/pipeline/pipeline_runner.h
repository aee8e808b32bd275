#pragma once

#include <filesystem>

#include "trainer/pipeline/pipeline.h"

namespace vmla::trainer {

/// Runs the stages of run_pipeline, whose exit status it returns; with options.keep_going 75 where
/// it was stopped, else 1 where a stage failed. Their complete configurations are
/// written into `config_dir`, which exists.
int run_stages(const PipelineConfig& pipeline,
               const PipelineOptions& options,
               const std::filesystem::path& config_dir);

}  // namespace vmla::trainer
