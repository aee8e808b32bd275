#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"
#include "trainer/config/config_yaml.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  const auto file = folder.write("stage.yaml", fuzz::as_text(data, size));
  trainer::TrainConfig config;
  if (!fuzz::accepts([&] { config = trainer::load_config(file, {}); })) return 0;
  // A run folder's copy must be readable, or the run could not be gone on with.
  const std::string resolved = trainer::resolved_yaml(config);
  fuzz::expect(trainer::resolved_yaml(trainer::parse_resolved(resolved, "f")) == resolved,
               "the resolved configuration is the same when read again");
  return 0;
}

}  // namespace vmla
