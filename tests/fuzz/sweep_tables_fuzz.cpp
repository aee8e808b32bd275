#include "analysis/sweep/earlier_tables.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

namespace vmla {

/// Each of a sweep's tables in turn, with nothing beside it but a sound table.csv.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  constexpr char kSound[] = "cell,seed,state,loss,stages,folder,failure\na,0,done,1,tf-1,x,\n";
  for (const char* name : {"table.csv", "curves.csv", "tune.csv"}) {
    folder.write("table.csv", kSound);
    folder.write("curves.csv", "cell,seed,step,loss\n");
    folder.write("tune.csv", "group,lr,seed,loss,stages\n");
    folder.write(name, fuzz::as_text(data, size));
    std::vector<analysis::EarlierRun> runs;
    if (!fuzz::accepts([&] { runs = analysis::read_earlier_tables(folder.path()); })) continue;
    for (const analysis::EarlierRun& run : runs)
      fuzz::expect(run.curve.steps.size() == run.curve.values.size(), "a curve has a value a step");
  }
  return 0;
}

}  // namespace vmla
