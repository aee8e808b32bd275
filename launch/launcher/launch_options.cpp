#include "launch/launcher/launch_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "launch/launcher/peer_proof.h"
#include "launch/launcher/worker_count.h"
#include "launch/options/help_text.h"
#include "launch/options/option_set.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

const char kSummary[] =
    "Starts a program once per device, on one machine or several, and watches over it.";

const char kHelp[] =
    R"(Every copy (a rank) finds its place in torchrun's environment variables: RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT and so on. Each line it writes is shown behind its rank,
"[2] ..."; a line that several ranks write is shown once, "[0-3] ...". When one rank fails, all
ranks of all nodes are stopped, and one line says which was the first to fail, how, and its last
lines.

Examples:
  one machine, four processes on the CPU
    vmla-launch --nproc-per-node 4 -- build/vmla train --config configs/tiny/pretrain.yaml
  one process per GPU; after a failure start again from the last checkpoint, up to three times
    vmla-launch --nproc-per-node gpu --max-restarts 3 --log-dir logs -- build/vmla train ...
  two machines: the same command on both, but for --node-rank; node0 is where --node-rank 0 runs
    vmla-launch --nnodes 2 --node-rank 0 --rdzv-endpoint node0:29400 --nproc-per-node 8 -- ...
    vmla-launch --nnodes 2 --node-rank 1 --rdzv-endpoint node0:29400 --nproc-per-node 8 -- ...

SIGTERM, SIGINT (Ctrl-C), SIGHUP, SIGQUIT and SIGUSR1 are passed on to every rank once, so that
`vmla train` saves and ends with status 75; a second Ctrl-C kills at once.

Exit status: 0 done; that of the rank that failed first (128 + signal if it was killed); 75 stopped
on request after saving, run me again; 2 wrong input, never started again; 1 a node was lost.

docs/operations.md has more: several nodes, torchrun, SLURM, log files, faults.)";

/// What the options say, before they are compared with each other.
struct Flags {
  std::string workers = "1";
  int64_t nodes = 1;
  std::optional<int64_t> node;
  std::string endpoint, token_file;
  bool standalone = false;
  int64_t max_restarts = 0;
  std::string log_dir;
  std::string cpu_binding = "none";
  double grace = 10, rendezvous_timeout = 300, heartbeat_timeout = 10;
};

void define_nodes(OptionSet& options, Flags& flags) {
  options
      .text("--nproc-per-node",
            flags.workers,
            "N|cpu|gpu",
            "processes on this machine: a number, cpu (one a core) or gpu (one a GPU)")
      .shows_default();
  options.integer_from_1("--nnodes", flags.nodes, "machines").type("N").shows_default();
  options.integer_from_0("--node-rank", flags.node, "which of them this is, from 0").type("R");
  options.text("--rdzv-endpoint",
               flags.endpoint,
               "HOST:PORT",
               "where the launcher of node 0 listens; the same on all nodes");
  options.text("--rdzv-token-file",
               flags.token_file,
               "FILE",
               "a secret that all nodes have, so that no stranger joins (or VMLA_RDZV_TOKEN)");
  options.flag("--standalone",
               flags.standalone,
               "one machine, meeting on a free port of its own (what happens without --nnodes)");
}

void define_running(OptionSet& options, Flags& flags) {
  options
      .integer_from_0("--max-restarts",
                      flags.max_restarts,
                      "after a failure, start all processes again, at most K times, after pauses "
                      "of 1, 2, 4 ... 30 seconds; `vmla train` continues from its last checkpoint")
      .type("K")
      .shows_default();
  options.text("--log-dir",
               flags.log_dir,
               "DIR",
               "also write DIR/RUN/attempt_N/LOCAL_RANK/{stdout.log,stderr.log,error.json}");
  options
      .choice("--cpu-bind",
              flags.cpu_binding,
              {"none", "cores", "numa"},
              "cores: each process gets its share of the cores; numa: a NUMA node (or its share of "
              "them); none: the system decides")
      .shows_default();
}

void define_times(OptionSet& options, Flags& flags) {
  options
      .seconds_above(
          0,
          "--grace",
          flags.grace,
          "seconds that the other processes have to end after a failure before they are killed")
      .type("S")
      .shows_default();
  options
      .seconds_above(0, "--rdzv-timeout", flags.rendezvous_timeout, "seconds to wait for all nodes")
      .type("S")
      .shows_default();
  // A launcher sends a heartbeat a second.
  options
      .seconds_above(1,
                     "--heartbeat-timeout",
                     flags.heartbeat_timeout,
                     "seconds of silence after which another node's launcher is lost")
      .type("S")
      .shows_default();
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(std::llround(seconds * 1000));
}

CpuBinding cpu_binding_named(const std::string& name) {
  if (name == "cores") return CpuBinding::kCores;
  if (name == "numa") return CpuBinding::kNuma;
  return CpuBinding::kNone;
}

void check_one_node(const Flags& flags) {
  if (flags.node.value_or(0) != 0) {
    fail_user("--node-rank {} needs --nnodes; with one node it is 0", *flags.node);
  }
  if (flags.endpoint.empty()) return;
  if (flags.standalone) {
    fail_user("--standalone finds a port of its own; leave out --rdzv-endpoint");
  }
  parse_endpoint(flags.endpoint);  // one node does not need it, but it must be right
}

void check_several_nodes(const Flags& flags) {
  const std::string several = formatted("--nnodes {}", flags.nodes);
  if (flags.nodes > kMostNodes) fail_user("{}: at most {}", several, kMostNodes);
  if (flags.standalone) fail_user("--standalone is one node, but {} is given", several);
  if (!flags.node) {
    fail_user("{} needs --node-rank R: from 0 to {}, another on each", several, flags.nodes - 1);
  }
  if (*flags.node >= flags.nodes) {
    fail_user("--node-rank {}: with {} it is from 0 to {}", *flags.node, several, flags.nodes - 1);
  }
  if (flags.endpoint.empty()) {
    fail_user("{} needs --rdzv-endpoint HOST:PORT: where the launcher of node 0 listens", several);
  }
}

LaunchOptions checked_options(const Flags& flags, std::vector<std::string> program) {
  LaunchOptions options;
  options.program = std::move(program);
  options.workers = count_workers(flags.workers, std::getenv("CUDA_VISIBLE_DEVICES"));
  options.nodes = flags.nodes;
  options.max_restarts = flags.max_restarts;
  options.log_dir = flags.log_dir;
  options.cpu_binding = cpu_binding_named(flags.cpu_binding);
  options.grace = milliseconds(flags.grace);
  options.rendezvous_timeout = milliseconds(flags.rendezvous_timeout);
  options.heartbeat_timeout = milliseconds(flags.heartbeat_timeout);
  options.token = job_token(flags.token_file, std::getenv(kTokenVariable));
  if (flags.nodes == 1) {
    check_one_node(flags);
  } else {
    check_several_nodes(flags);
    options.node = *flags.node;
    options.endpoint = parse_endpoint(flags.endpoint);
  }
  return options;
}

std::string option_names(const CLI::App& app) {
  std::string names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty()) continue;
    names += (names.empty() ? "--" : ", --") + option->get_lnames().front();
  }
  return names;
}

/// What CLI11 found wrong, in one line. It calls a mistyped option an argument that was not
/// expected.
std::string problem_of(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    const std::vector<std::string> extra = app.remaining();
    const std::string word = extra.empty() ? "" : extra.front();
    if (word.starts_with("-")) {
      return formatted("unknown flag {}; valid: {}", word, option_names(app));
    }
    return formatted("'{}' is no flag; the program and its arguments come after --", word);
  }
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// CLI11's help, with the part of the command line that it does not parse.
std::string help_of(const CLI::App& app) {
  std::string text = app.help();
  const std::string usage = "[OPTIONS]";
  text.replace(text.find(usage), usage.size(), usage + " -- PROGRAM ARGS...");
  return fit_columns(text);
}

}  // namespace

LaunchRequest parse_launch_options(int argc, const char* const* argv) {
  CLI::App app(kSummary, "vmla-launch");
  app.footer(kHelp);
  app.set_version_flag("--version", std::string("vmla-launch ") + VMLA_VERSION);
  Flags flags;
  OptionSet options(app);
  define_nodes(options, flags);
  define_running(options, flags);
  define_times(options, flags);
  const char* const* const end = argv + argc;
  const char* const* const divider =
      std::find_if(argv, end, [](const char* word) { return std::string(word) == "--"; });
  try {
    app.parse(static_cast<int>(divider - argv), argv);
  } catch (const CLI::CallForHelp&) {
    return {help_of(app), {}};
  } catch (const CLI::CallForVersion& version) {
    return {std::string(version.what()) + "\n", {}};
  } catch (const CLI::ParseError& error) {
    fail_user("{}; see vmla-launch --help", problem_of(app, error));
  }
  if (end - divider < 2) {
    fail_user(
        "no program given; it comes after --: vmla-launch --nproc-per-node 2 -- PROGRAM ARGS");
  }
  return {std::nullopt, checked_options(flags, {divider + 1, end})};
}

}  // namespace vmla::launch
