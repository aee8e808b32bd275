#include "launch/commands/bench.h"

#include <algorithm>
#include <filesystem>

#include "model/io/error.h"
#include "trainer/config/config_yaml.h"
#include "trainer/pipeline/cpu_threads.h"

namespace vmla::launch {
namespace {

namespace fs = std::filesystem;

struct Known {
  const char* name;
  const char* config;  // without --config
  bool on_cpu_alone;
};

constexpr Known kKnown[] = {
    {"step", "configs/tiny/teacher_forcing.yaml", false},
    {"stream", "configs/tiny/dmd.yaml", false},
    {"optimizer", "configs/tiny/teacher_forcing.yaml", false},
    {"checkpoint", "configs/tiny/teacher_forcing.yaml", false},
    {"vae", "configs/tiny/teacher_forcing.yaml", false},
    {"init", "configs/wan1.3b/teacher_forcing.yaml", true},
    {"rank", "configs/wan1.3b/teacher_forcing.yaml", true},
    {"data", "configs/tiny/teacher_forcing.yaml", true},
};

const Known& known(const std::string& name) {
  return *std::ranges::find(kKnown, name, &Known::name);
}

}  // namespace

const CommandText BenchArgs::kText = {
    "bench",
    "times a part of the program on this machine",
    R"(Times one thing with random weights and clips of a configuration's sizes, so that neither has to be there, and
prints seconds (median and range, by the clock and of the processor), FLOPs, bytes, and what share they are of this
machine's own matrix product (mfu) and copy, which are measured before and after. NAME is one of
  step        the training step of --config; of dmd the cycle of one generator's and several critic's updates
  stream      a video drawn chunk by chunk: first chunk, steady chunk, cache; without text encoder and decoder
  optimizer   gradient norm, clipping, AdamW, moving average and copies in the compute dtype
  checkpoint  what training waits for while a checkpoint is written beside it
  vae         the codec of data.codec_weights on one clip
  init        conversion from dense weights by init.method, beside torch.linalg.svd
  rank        effective rank of every layer, beside torch.linalg.svdvals
  data        clips of data.path, beside plain reads of the file

The same work in Python, interleaved with this program: bench/ (docs/gpu.md says which figures to expect of a GPU).

Examples:
  vmla bench step
  vmla bench step --config configs/tiny/dmd.yaml --json dmd.json
  vmla bench stream --config configs/wan1.3b/dmd.yaml --set train.device=cuda --json stream.json
  vmla bench checkpoint --disk-rate 150 --folder /tmp)"};

void BenchArgs::define(OptionSet& options) {
  std::vector<std::string> names;
  for (const Known& benchmark : kKnown) names.emplace_back(benchmark.name);
  options.choice("NAME", name, names, "what is timed").required();
  add_config(
      options,
      *this,
      "the stage's yaml file (default: of configs/tiny; of init and rank, of configs/wan1.3b)");
  options.integer_from_1("--repeats", repeats, "runs that are counted").shows_default();
  options.integer_from_0("--warm-up", warm_up, "runs before them that are not").shows_default();
  options.integer_from_1("--chunks", chunks, "of stream: chunks of the video (default: 12)");
  options.text("--folder",
               folder,
               "DIR",
               "of checkpoint: where a folder is made, and removed (default: the working folder)");
  options.number_above_0(
      "--disk-rate", disk_rate, "of checkpoint: slow the disk down to so many MB/s");
  options.text("--json", json, "FILE", "also write the figures as JSON, in SI units");
}

void BenchArgs::check() const {
  const auto only_of = [&](const char* benchmark, const char* option, bool given) {
    if (given && name != benchmark)
      fail_user("bench {}: {} is for bench {}; leave it out", name, option, benchmark);
  };
  only_of("stream", "--chunks", chunks.has_value());
  only_of("checkpoint", "--folder", folder.has_value());
  only_of("checkpoint", "--disk-rate", disk_rate.has_value());
  if (folder && !fs::is_directory(*folder))
    fail_user("bench: --folder {}: is not a folder; name one to make another in", *folder);
  // Not after minutes of measuring.
  const fs::path written = fs::path(json).parent_path();
  if (!written.empty() && !fs::is_directory(written))
    fail_user("bench: --json {}: there is no folder {}", json, written.string());
}

std::string BenchArgs::config_file() const {
  if (!config.empty()) return config;
  const fs::path own = known(name).config;
  if (fs::exists(own)) return own.string();
  // build/vmla of a clone, libexec/vmla of a bundle: both have configs/ beside their folder.
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path beside = program.parent_path().parent_path() / own;
  if (fs::exists(beside, ignored)) return beside.string();
  fail_user("bench {}: {} is not here; name a stage's yaml file with --config", name, own.string());
}

bool BenchArgs::on_cpu_alone() const {
  return known(name).on_cpu_alone;
}

CpuThreads BenchArgs::front_check() const {
  const trainer::TrainConfig stage = trainer::load_config(config_file(), set);
  const int64_t cores = trainer::available_cores();
  const int64_t threads =
      on_cpu_alone() && stage.train.threads == 0 ? cores : trainer::cpu_threads(stage, cores);
  return {.count = threads, .asked_for = stage.train.threads > 0};
}

}  // namespace vmla::launch
