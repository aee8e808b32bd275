// Starts a program once per device and watches over it; without LibTorch, so it starts at once.

#include <cstdio>
#include <exception>
#include <string>

#include "launch/launcher/coordinator.h"
#include "launch/launcher/launch_options.h"
#include "launch/launcher/local_node.h"
#include "launch/launcher/member_node.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

int launch(const LaunchOptions& options) {
  LocalNode local(options);
  try {
    const int status =
        options.node == 0 ? Coordinator(options, local).run() : MemberNode(options, local).run();
    local.finish();
    return status;
  } catch (...) {
    local.finish();  // what was said before the error
    throw;
  }
}

int run(int argc, char** argv) {
  const LaunchRequest request = parse_launch_options(argc, argv);
  if (request.text) {
    std::fputs(request.text->c_str(), stdout);
    return 0;
  }
  return launch(request.options);
}

int say(const std::exception& error, int status) {
  std::fprintf(stderr, "vmla-launch: error: %s\n", error.what());
  return status;
}

}  // namespace
}  // namespace vmla::launch

int main(int argc, char** argv) {
  try {
    return vmla::launch::run(argc, argv);
  } catch (const vmla::UserError& error) {
    return vmla::launch::say(error, 2);
  } catch (const std::exception& error) {
    return vmla::launch::say(error, 1);
  }
}
