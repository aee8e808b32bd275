// vmla-launch: starts a program once per device and watches over the processes. Without LibTorch,
// so that it starts in milliseconds and needs no CUDA library.

#include <cstdio>
#include <exception>
#include <string>

#include "launch/launcher/coordinator.h"
#include "launch/launcher/launch_options.h"
#include "launch/launcher/local_node.h"
#include "launch/launcher/member_node.h"
#include "launch/standard_streams.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/quoted_name.h"

namespace vmla::launch {
namespace {

int launch(const LaunchOptions& options) {
  LocalNode local(options);
  try {
    const int status =
        options.node == 0 ? Coordinator(options, local).run() : MemberNode(options, local).run();
    local.flush();
    return status;
  } catch (...) {
    local.flush();  // the lines before the error
    throw;
  }
}

int run(int argc, char** argv) {
  const LaunchRequest request = parse_launch_options(argc, argv);
  if (request.text) {
    std::fputs(request.text->c_str(), stdout);
    return kDone;
  }
  return launch(request.options);
}

int report(const std::exception& error, int status) {
  std::fprintf(stderr, "vmla-launch: error: %s\n", io::printable(error.what()).c_str());
  return status;
}

}  // namespace
}  // namespace vmla::launch

int main(int argc, char** argv) {
  vmla::launch::prepare_standard_streams();
  try {
    return vmla::launch::run(argc, argv);
  } catch (const vmla::UserError& error) {
    return vmla::launch::report(error, vmla::kWrongInput);
  } catch (const std::exception& error) {
    return vmla::launch::report(error, vmla::kFault);
  }
}
