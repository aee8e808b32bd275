#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"
#include "trainer/telemetry/metrics.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  folder.write("metrics.jsonl", fuzz::as_text(data, size));
  fuzz::accepts([&] { trainer::newest_metrics(folder.path()); });
  int64_t dropped = 0, again = 0;
  std::string kept;
  if (!fuzz::accepts([&] {
        kept = trainer::cut_back_metrics(std::string(fuzz::as_text(data, size)), 1000, dropped);
      }))
    return 0;
  fuzz::expect(trainer::cut_back_metrics(kept, 1000, again) == kept && again == 0,
               "what is kept stays when cut again");
  return 0;
}

}  // namespace vmla
