#pragma once

#include <variant>

#include "launch/commands/analyze_init.h"
#include "launch/commands/analyze_memory.h"
#include "launch/commands/analyze_rank.h"
#include "launch/commands/analyze_spectrum.h"
#include "launch/commands/bench.h"
#include "launch/commands/compare.h"
#include "launch/commands/convert.h"
#include "launch/commands/data_encode.h"
#include "launch/commands/data_generate.h"
#include "launch/commands/data_import.h"
#include "launch/commands/data_inspect.h"
#include "launch/commands/data_ode.h"
#include "launch/commands/data_prompts.h"
#include "launch/commands/data_synth.h"
#include "launch/commands/doctor.h"
#include "launch/commands/export.h"
#include "launch/commands/forward.h"
#include "launch/commands/init.h"
#include "launch/commands/pipeline.h"
#include "launch/commands/sample.h"
#include "launch/commands/step.h"
#include "launch/commands/sweep.h"
#include "launch/commands/text_encode.h"
#include "launch/commands/train.h"
#include "launch/commands/vae_decode.h"
#include "launch/commands/vae_encode.h"

namespace vmla::launch {

/// The list of all commands, in the order in which the help shows them. The parser, the help and
/// both programs follow from it; command_args.h says what a command consists of.
using AnyCommand = std::variant<TrainArgs,
                                PipelineArgs,
                                SweepArgs,
                                SampleArgs,
                                InitArgs,
                                StepArgs,
                                CompareArgs,
                                ForwardArgs,
                                VaeEncodeArgs,
                                VaeDecodeArgs,
                                ConvertArgs,
                                ExportArgs,
                                AnalyzeSpectrumArgs,
                                AnalyzeRankArgs,
                                AnalyzeInitArgs,
                                AnalyzeMemoryArgs,
                                DataSynthArgs,
                                DataEncodeArgs,
                                DataPromptsArgs,
                                DataGenerateArgs,
                                DataOdeArgs,
                                DataImportArgs,
                                DataInspectArgs,
                                TextEncodeArgs,
                                BenchArgs,
                                DoctorArgs>;

/// The groups: first words that several commands have in common.
inline constexpr CommandText kCommandGroups[] = {
    {"analyze", "spectra and effective ranks of weights, init methods, memory of a stage", ""},
    {"data", "makes, encodes and inspects training data", ""},
    {"text", "the text encoder by itself", ""},
    {"vae", "the video codec alone: pixels to latents and back", ""},
};

}  // namespace vmla::launch
