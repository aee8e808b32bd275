// The front program, without LibTorch: parses the command line, answers --help, checks the
// configuration, sets what must be set before LibTorch loads, and becomes vmla-core. It starts in
// milliseconds, so a mistake is answered at once.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/command_line.h"
#include "launch/error_report.h"
#include "model/io/error.h"
#include "trainer/config/config_yaml.h"
#include "trainer/distributed/job/rank_environment.h"
#include "trainer/pipeline/cpu_threads.h"
#include "trainer/pipeline/pipeline_config.h"

namespace vmla::launch {
namespace {

/// How many CPU threads a command gets: what the configuration asks for wins over the environment,
/// a default does not.
struct Threads {
  int64_t count;
  bool asked_for;
};

Threads usual_threads() {
  return {std::min<int64_t>(trainer::available_cores(), 8), false};
}

/// Checks what can be checked without tensors.
struct FrontCheck {
  Threads operator()(const TrainArgs& args) const {
    // Of several ranks, rank 0 says what is wrong with the configuration; the others compare theirs
    // with it when they have met.
    if (ranks_.rank != 0) return {threads_each(), false};
    return threads_of(trainer::load_config(args.config, args.set));
  }
  Threads operator()(const StepArgs& args) const {
    return threads_of(trainer::load_config(args.config, args.set, trainer::Purpose::kStep));
  }
  Threads operator()(const AnalyzeMemoryArgs& args) const {
    trainer::load_config(args.config, args.set);
    return usual_threads();
  }
  Threads operator()(const PipelineArgs& args) const {
    trainer::load_pipeline(args.config, args.set, args.run_dir);
    return {trainer::available_cores(), false};  // for the stages to share
  }
  Threads operator()(const ForwardArgs& args) const {
    trainer::check_config_syntax(args.config, args.set);
    return usual_threads();
  }
  Threads operator()(const InitArgs& args) const {
    trainer::check_config_syntax(args.config, args.set);
    return usual_threads();
  }
  template <class T>
  Threads operator()(const T&) const {
    return usual_threads();
  }

 private:
  /// Cores of one of this machine's ranks.
  int64_t threads_each() const { return trainer::available_cores(ranks_.local_world_size); }
  Threads threads_of(const trainer::TrainConfig& config) const {
    return {trainer::cpu_threads(config, threads_each()), config.train.threads > 0};
  }

  distributed::RankEnvironment ranks_ = distributed::rank_environment();
};

/// Several processes with the same arguments would write the same files; rank 0 says so.
void refuse_ranks() {
  const distributed::RankEnvironment ranks = distributed::rank_environment();
  if (ranks.world_size == 1) return;
  if (ranks.rank != 0) exit_after_peer_reports(kWrongInput);
  fail_user(
      "this command runs in one process, and was started as {} ranks; only vmla train shares its "
      "work (vmla pipeline: --nproc-per-node)",
      ranks.world_size);
}

[[noreturn]] void become_core(char** argv) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string core = self.parent_path() / "vmla-core";
  execv(core.c_str(), argv);  // the pid stays, and with it signals and job control
  fail_run(
      "cannot start {}: {}; it is built together with this program", core, std::strerror(errno));
}

int run(int argc, char** argv) {
  const CommandLine command = parse_command_line(argc, argv);
  if (command.text) {
    std::fputs(command.text->c_str(), stdout);
    return kDone;
  }
  if (const auto* train = std::get_if<TrainArgs>(&command.args);
      train != nullptr && train->list_keys) {
    std::fputs(trainer::config_reference().c_str(), stdout);
    return kDone;
  }
  if (!std::holds_alternative<TrainArgs>(command.args)) refuse_ranks();
  const Threads threads = std::visit(FrontCheck{}, command.args);
  // libgomp reads these when it is loaded; its spinning threads would steal the cores of other
  // processes.
  setenv("OMP_WAIT_POLICY", "PASSIVE", 0);
  setenv("OMP_NUM_THREADS", std::to_string(threads.count).c_str(), threads.asked_for ? 1 : 0);
  // The profiler's library says on stderr that there is no GPU, which is no error of ours.
  setenv("KINETO_LOG_LEVEL", "5", 0);
  become_core(argv);
}

}  // namespace
}  // namespace vmla::launch

int main(int argc, char** argv) {
  try {
    return vmla::launch::run(argc, argv);
  } catch (...) {
    return vmla::launch::report_exception();
  }
}
