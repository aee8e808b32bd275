#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"
#include "trainer/sweep/sweep_file.h"
#include "trainer/sweep/sweep_plan.h"

namespace vmla {
namespace {

/// A folder with the stages that the seeds' sweeps name.
struct StageFolder : fuzz::FuzzFolder {
  StageFolder() {
    const std::string data = "data: {path: x, validation_path: y}\nvalidation: {every: 5}\n";
    write("dense.yaml",
          "stage: dense\nmodel: {preset: tiny}\nobjective: {name: flow_matching}\n" + data);
    write("mla.yaml",
          "stage: mla\nmodel: {preset: tiny, attention: mla}\ninit: {method: svd_weight}\n"
          "init_from: {generator: {stage: zero}}\n" +
              data);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const StageFolder folder;
  const auto file = folder.write("sweep.yaml", fuzz::as_text(data, size));
  trainer::SweepFile sweep;
  if (!fuzz::accepts([&] { sweep = trainer::read_sweep_file(file, {}); })) return 0;
  for (size_t cell = 0; cell < sweep.cells.size(); ++cell) {
    const auto baseline = trainer::baseline_of(sweep, cell);
    fuzz::expect(!baseline || (*baseline < sweep.cells.size() && *baseline != cell),
                 "a baseline is another cell");
  }
  // A configuration takes milliseconds under the sanitizers; honest sweeps may have thousands.
  constexpr size_t kFew = 20;
  const size_t tried = sweep.tune ? sweep.tune->axis.values.size() * sweep.tune->seeds.size() : 1;
  if (sweep.cells.size() * sweep.seeds.size() * tried > kFew) return 0;
  fuzz::accepts([&] { trainer::check_sweep(sweep, "run"); });
  return 0;
}

}  // namespace vmla
