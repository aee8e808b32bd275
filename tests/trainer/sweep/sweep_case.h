#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/trainer/config/config_files.h"
#include "trainer/sweep/sweep_file.h"
#include "trainer/sweep/sweep_plan.h"

namespace vmla::trainer::testing {

/// A pipeline of a dense stage and one that turns it into latent attention, and sweeps over it.
class SweepCase : public ::testing::Test {
 protected:
  SweepCase() {
    folder_.write("dense.yaml",
                  "stage: dense\nmodel: {preset: tiny}\nobjective: {name: flow_matching}\n"
                  "data: {path: x}\n");
    folder_.write("mla.yaml",
                  "stage: mla\nmodel: {preset: tiny, attention: mla}\ninit: {method: svd_weight}\n"
                  "init_from: {generator: {stage: zero}}\ndata: {path: x, validation_path: y}\n"
                  "validation: {every: 5}\n");
    folder_.write("p.yaml",
                  "stages:\n- {name: zero, config: dense.yaml}\n- {name: tf, config: mla.yaml}\n");
  }
  /// Reads a sweep over the pipeline (or `base`) with `text` behind its first line.
  SweepFile read(const std::string& text, const std::string& base = "p.yaml") {
    file_ = folder_.write("sweep.yaml", "base: " + base + "\n" + text);
    return read_sweep_file(file_, {});
  }
  std::string error(const std::string& text, const std::string& base = "p.yaml") {
    return message_of<UserError>([&] { check_sweep(read(text, base), run_dir()); });
  }
  std::filesystem::path run_dir() const { return folder_.path() / "run"; }
  SweepPlan plan(const SweepFile& sweep) {
    return resolve_runs(sweep, sweep.cells, sweep.seeds, kSweepCells, run_dir());
  }

  TemporaryFolder folder_;
  std::filesystem::path file_;
};

inline std::vector<std::string> names_of(const std::vector<SweepCell>& cells) {
  std::vector<std::string> names;
  for (const SweepCell& cell : cells) names.push_back(cell.name);
  return names;
}

}  // namespace vmla::trainer::testing
