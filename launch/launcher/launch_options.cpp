#include "launch/launcher/launch_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "model/io/error.h"

namespace vmla::launch {
namespace {

const char kSummary[] =
    "Starts a program once per device, on one machine or several, and watches over it.";

const char kTeaching[] = R"(
Every copy (a rank) finds its place in torchrun's environment variables: RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT and so on. Its lines are shown behind its rank, "[2] ...";
what several ranks say alike is shown once, "[0-3] ...". When one rank fails, all ranks of all
nodes are stopped, and one line says which was the first to fail, how, and its last words.

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

// One value, whole, from `least` on; CLI11's own checks clamp what does not fit.
CLI::Validator integer_from(int64_t least) {
  return CLI::Validator(
      [least](const std::string& text) {
        int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool whole = error == std::errc{} && end == text.data() + text.size();
        return whole && value >= least
                   ? std::string()
                   : formatted("{} is not an integer of at least {}", text, least);
      },
      "");
}

CLI::Validator seconds_above(double least) {
  return CLI::Validator(
      [least](const std::string& text) {
        double value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        const bool whole = error == std::errc{} && end == text.data() + text.size();
        return whole && value > least && value < 1e9
                   ? std::string()
                   : formatted("{} is not a number of seconds above {:g}", text, least);
      },
      "");
}

/// What the flags say, before it is put together.
struct Flags {
  std::string workers = "1";
  int64_t nodes = 1;
  std::optional<int64_t> node;
  std::string endpoint;
  bool standalone = false;
  int64_t max_restarts = 0;
  std::string log_dir;
  std::string cpu_binding = "none";
  double grace = 10, rendezvous_timeout = 300, heartbeat_timeout = 10;
};

void define(CLI::App& app, Flags& flags) {
  app.add_option("--nproc-per-node",
                 flags.workers,
                 "processes on this machine: a number, cpu (one a core) or gpu (one a GPU)")
      ->type_name("N|cpu|gpu")
      ->capture_default_str();
  app.add_option("--nnodes", flags.nodes, "machines")
      ->type_name("N")
      ->check(integer_from(1))
      ->capture_default_str();
  app.add_option("--node-rank", flags.node, "which of them this is, from 0")
      ->type_name("R")
      ->check(integer_from(0));
  app.add_option("--rdzv-endpoint",
                 flags.endpoint,
                 "where the launcher of node 0 listens; the same on all nodes")
      ->type_name("HOST:PORT");
  app.add_flag("--standalone",
               flags.standalone,
               "one machine, meeting on a free port of its own (what happens without --nnodes)");
  app.add_option(
         "--max-restarts",
         flags.max_restarts,
         "after a failure start all processes again, at most so often, with pauses of 1, 2, "
         "4 ... 30 seconds; `vmla train` goes on from its last checkpoint")
      ->type_name("K")
      ->check(integer_from(0))
      ->capture_default_str();
  app.add_option("--log-dir",
                 flags.log_dir,
                 "also write DIR/RUN/attempt_N/LOCAL_RANK/{stdout.log,stderr.log,error.json}")
      ->type_name("DIR");
  app.add_option("--cpu-bind",
                 flags.cpu_binding,
                 "cores: each process gets its share of the cores; numa: a NUMA node (or its "
                 "share of them); none: the system decides")
      ->check(CLI::IsMember({"none", "cores", "numa"}))
      ->capture_default_str();
  app.add_option("--grace",
                 flags.grace,
                 "seconds that the other processes have to end after a failure before they are "
                 "killed")
      ->type_name("S")
      ->check(seconds_above(0))
      ->capture_default_str();
  app.add_option("--rdzv-timeout", flags.rendezvous_timeout, "seconds to wait for all nodes")
      ->type_name("S")
      ->check(seconds_above(0))
      ->capture_default_str();
  app.add_option("--heartbeat-timeout",
                 flags.heartbeat_timeout,
                 "seconds of silence after which another node's launcher is lost")
      ->type_name("S")
      ->check(seconds_above(1))  // a heartbeat a second
      ->capture_default_str();
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(std::llround(seconds * 1000));
}

LaunchOptions put_together(const Flags& flags, std::vector<std::string> program) {
  LaunchOptions options;
  options.program = std::move(program);
  options.workers = count_workers(flags.workers, std::getenv("CUDA_VISIBLE_DEVICES"));
  options.nodes = flags.nodes;
  options.max_restarts = flags.max_restarts;
  options.log_dir = flags.log_dir;
  options.cpu_binding = flags.cpu_binding == "cores"  ? CpuBinding::kCores
                        : flags.cpu_binding == "numa" ? CpuBinding::kNuma
                                                      : CpuBinding::kNone;
  options.grace = milliseconds(flags.grace);
  options.rendezvous_timeout = milliseconds(flags.rendezvous_timeout);
  options.heartbeat_timeout = milliseconds(flags.heartbeat_timeout);
  if (flags.nodes == 1) {
    if (flags.node.value_or(0) != 0) {
      fail_user("--node-rank {} needs --nnodes; with one node it is 0", *flags.node);
    }
    if (flags.standalone && !flags.endpoint.empty()) {
      fail_user("--standalone finds a port of its own; leave out --rdzv-endpoint");
    }
    if (!flags.endpoint.empty()) parse_endpoint(flags.endpoint);  // not needed, but right
    return options;
  }
  const std::string several = formatted("--nnodes {}", flags.nodes);
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
  options.node = *flags.node;
  options.endpoint = parse_endpoint(flags.endpoint);
  return options;
}

std::string flag_names(const CLI::App& app) {
  std::string names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty()) continue;
    names += formatted("{}--{}", names.empty() ? "" : ", ", option->get_lnames().front());
  }
  return names;
}

// CLI11 calls a mistyped flag an argument that was not expected.
std::string what_is_wrong(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
    const std::vector<std::string> extra = app.remaining();
    const std::string word = extra.empty() ? "" : extra.front();
    if (word.starts_with("-")) {
      return formatted("unknown flag {}; valid: {}", word, flag_names(app));
    }
    return formatted("'{}' is no flag; the program and its arguments come after --", word);
  }
  std::string text = error.what();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

int64_t count_workers(const std::string& text,
                      const char* cuda_visible_devices,
                      const std::filesystem::path& devices) {
  if (text == "cpu") return static_cast<int64_t>(usable_cpus().size());
  if (text == "gpu") {
    int64_t count = 0;
    const std::string listed = cuda_visible_devices == nullptr ? "" : cuda_visible_devices;
    if (!listed.empty()) {
      count = 1 + std::count(listed.begin(), listed.end(), ',');
    } else {
      std::error_code error;
      for (const auto& entry : std::filesystem::directory_iterator(devices, error)) {
        const std::string name = entry.path().filename().string();
        count +=
            name.starts_with("nvidia") && name.size() > 6 &&
                    std::all_of(
                        name.begin() + 6, name.end(), [](char c) { return c >= '0' && c <= '9'; })
                ? 1
                : 0;
      }
    }
    if (count == 0) {
      fail_user(
          "--nproc-per-node gpu: {} has no nvidia0; give a number, or cpu for one process a core",
          devices.string());
    }
    return count;
  }
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size() || count < 1 || count > 4096) {
    fail_user("--nproc-per-node {}: give a number from 1 to 4096, cpu or gpu", text);
  }
  return count;
}

Endpoint parse_endpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  Endpoint out;
  if (colon != std::string::npos) {
    out.host = text.substr(0, colon);
    if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']') {
      out.host = out.host.substr(1, out.host.size() - 2);
    } else if (out.host.find(':') != std::string::npos) {
      out.host.clear();  // an IPv6 address without brackets: where it ends cannot be told
    }
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, out.port);
    if (error != std::errc{} || stop != end) out.port = 0;
  }
  if (out.host.empty() || out.port < 1 || out.port > 65535) {
    fail_user(
        "--rdzv-endpoint {}: not HOST:PORT with a port from 1 to 65535 (an IPv6 address goes in "
        "brackets)",
        text);
  }
  return out;
}

LaunchRequest parse_launch_options(int argc, const char* const* argv) {
  CLI::App app(kSummary, "vmla-launch");
  app.footer(kTeaching + 1);
  app.set_version_flag("--version", std::string("vmla-launch ") + VMLA_VERSION);
  Flags flags;
  define(app, flags);
  const char* const* const end = argv + argc;
  const char* const* const divider =
      std::find_if(argv, end, [](const char* word) { return std::string(word) == "--"; });
  try {
    app.parse(static_cast<int>(divider - argv), argv);
  } catch (const CLI::CallForHelp&) {
    std::string text = app.help();
    const std::string usage = "[OPTIONS]";
    text.replace(text.find(usage), usage.size(), usage + " -- PROGRAM ARGS...");
    return {text, {}};
  } catch (const CLI::CallForVersion& version) {
    return {std::string(version.what()) + "\n", {}};
  } catch (const CLI::ParseError& error) {
    fail_user("{}; see vmla-launch --help", what_is_wrong(app, error));
  }
  if (end - divider < 2) {
    fail_user(
        "no program given; it comes after --: vmla-launch --nproc-per-node 2 -- PROGRAM ARGS");
  }
  return {std::nullopt, put_together(flags, {divider + 1, end})};
}

}  // namespace vmla::launch
