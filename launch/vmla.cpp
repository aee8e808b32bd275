// The front program, without LibTorch: parses the command line, answers --help, checks the
// configuration, sets what must be set before LibTorch loads, and becomes vmla-core. It starts in
// milliseconds, so that a mistake is answered at once.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <variant>

#include "launch/command_line.h"
#include "launch/error_report.h"
#include "launch/held_signals.h"
#include "launch/standard_streams.h"
#include "model/io/error.h"
#include "trainer/distributed/job/host_voice.h"
#include "trainer/distributed/job/rank_environment.h"

namespace vmla::launch {
namespace {

/// For a command of one process (`why`) that was started as several: one on each machine says so,
/// the others exit quietly.
void refuse_ranks(const std::string& why) {
  const distributed::RankEnvironment ranks = distributed::rank_environment();
  if (ranks.world_size == 1) return;
  if (!distributed::speaks_for_host("one process")) exit_after_peer_reports(kWrongInput);
  exit_for_peers(
      kWrongInput,
      formatted(
          "{}, and was started as {} ranks; only vmla train and vmla sample share their work (vmla "
          "pipeline: --nproc-per-node)",
          why,
          ranks.world_size));
}

/// Sets what the core's libraries read once, when they are loaded.
void set_environment(const CpuThreads& threads) {
  // Idle OpenMP threads that spin would take the cores of other processes.
  setenv("OMP_WAIT_POLICY", "PASSIVE", /*overwrite=*/0);
  setenv("OMP_NUM_THREADS", std::to_string(threads.count).c_str(), threads.asked_for ? 1 : 0);
  // The profiler's library says on stderr that there is no GPU, which is no error of ours.
  setenv("KINETO_LOG_LEVEL", "5", /*overwrite=*/0);
}

[[noreturn]] void become_core(char** argv) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string core = self.parent_path() / "vmla-core";
  hold_signals(true);         // until the core's libraries are loaded and it has a handler
  execv(core.c_str(), argv);  // the pid stays, and with it signals and job control
  hold_signals(false);
  fail_run(
      "cannot start {}: {}; it is built together with this program", core, std::strerror(errno));
}

int run_command_line(int argc, char** argv) {
  const CommandLine line = parse_command_line(argc, argv);
  if (line.text) {
    std::fputs(line.text->c_str(), stdout);
    return kDone;
  }
  const CpuThreads threads = std::visit(
      []<class T>(const T& args) {
        if (const auto why = args.one_process()) refuse_ranks(*why);
        return args.front_check();
      },
      line.command);
  set_environment(threads);
  become_core(argv);
}

}  // namespace
}  // namespace vmla::launch

int main(int argc, char** argv) {
  vmla::launch::prepare_standard_streams();
  try {
    return vmla::launch::run_command_line(argc, argv);
  } catch (...) {
    return vmla::launch::report_exception();
  }
}
