// vmla-core: every command, with LibTorch. Started by vmla, which has checked the command line and
// set the environment; it can also be started by itself.

#include <c10/util/Exception.h>

#include <cstdio>
#include <variant>

#include "launch/command_line.h"
#include "launch/commands/analyze_memory.h"
#include "launch/commands/analyze_rank.h"
#include "launch/commands/analyze_spectrum.h"
#include "launch/commands/compare.h"
#include "launch/commands/convert.h"
#include "launch/commands/data_encode.h"
#include "launch/commands/data_generate.h"
#include "launch/commands/data_inspect.h"
#include "launch/commands/data_ode.h"
#include "launch/commands/data_prompts.h"
#include "launch/commands/data_synth.h"
#include "launch/commands/export.h"
#include "launch/commands/forward.h"
#include "launch/commands/init.h"
#include "launch/commands/pipeline.h"
#include "launch/commands/sample.h"
#include "launch/commands/step.h"
#include "launch/commands/train.h"
#include "launch/error_report.h"

namespace vmla::launch {
namespace {

/// The command table: which arguments belong to which command.
struct Commands {
  int operator()(const AnalyzeMemoryArgs& args) const { return cmd_analyze_memory(args); }
  int operator()(const AnalyzeRankArgs& args) const { return cmd_analyze_rank(args); }
  int operator()(const AnalyzeSpectrumArgs& args) const { return cmd_analyze_spectrum(args); }
  int operator()(const CompareArgs& args) const { return cmd_compare(args); }
  int operator()(const ConvertArgs& args) const { return cmd_convert(args); }
  int operator()(const DataEncodeArgs& args) const { return cmd_data_encode(args); }
  int operator()(const DataGenerateArgs& args) const { return cmd_data_generate(args); }
  int operator()(const DataInspectArgs& args) const { return cmd_data_inspect(args); }
  int operator()(const DataOdeArgs& args) const { return cmd_data_ode(args); }
  int operator()(const DataPromptsArgs& args) const { return cmd_data_prompts(args); }
  int operator()(const DataSynthArgs& args) const { return cmd_data_synth(args); }
  int operator()(const ExportArgs& args) const { return cmd_export(args); }
  int operator()(const ForwardArgs& args) const { return cmd_forward(args); }
  int operator()(const InitArgs& args) const { return cmd_init(args); }
  int operator()(const PipelineArgs& args) const { return cmd_pipeline(args); }
  int operator()(const SampleArgs& args) const { return cmd_sample(args); }
  int operator()(const StepArgs& args) const { return cmd_step(args); }
  int operator()(const TrainArgs& args) const { return cmd_train(args); }
};

int run(int argc, char** argv) {
  const CommandLine command = parse_command_line(argc, argv);
  if (command.text) {
    std::fputs(command.text->c_str(), stdout);
    return kDone;
  }
  return std::visit(Commands{}, command.args);
}

}  // namespace
}  // namespace vmla::launch

int main(int argc, char** argv) {
  try {
    return vmla::launch::run(argc, argv);
  } catch (const c10::Error& error) {
    // A contract of ours or of LibTorch's was broken; the stack is for a debugger, not for the
    // user's line.
    return vmla::launch::report_fault(error.what_without_backtrace());
  } catch (...) {
    return vmla::launch::report_exception();
  }
}
