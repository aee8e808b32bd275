// vmla-core: every command, with LibTorch. Started by vmla, which has checked the command line and
// set the environment; it can also be started by itself.

#include <c10/util/Exception.h>

#include <cstdio>
#include <variant>

#include "launch/command_line.h"
#include "launch/error_report.h"
#include "launch/held_signals.h"
#include "launch/standard_streams.h"
#include "model/io/graceful_stop.h"

namespace vmla::launch {
namespace {

int run_command_line(int argc, char** argv) {
  const CommandLine line = parse_command_line(argc, argv);
  if (line.text) {
    std::fputs(line.text->c_str(), stdout);
    return kDone;
  }
  return std::visit([](const auto& args) { return run(args); }, line.command);
}

}  // namespace
}  // namespace vmla::launch

int main(int argc, char** argv) {
  vmla::launch::prepare_standard_streams();
  try {
    // Parts of a command that have more to say of what they keep have objects of their own.
    const vmla::io::GracefulStop stop([] { return "nothing is lost; run the same command again"; });
    vmla::launch::hold_signals(false);
    return vmla::launch::run_command_line(argc, argv);
  } catch (const c10::Error& error) {
    // A contract of ours or of LibTorch's was broken; the stack is for a debugger, not for the
    // user's line.
    return vmla::launch::report_fault(error.what_without_backtrace());
  } catch (...) {
    return vmla::launch::report_exception();
  }
}
