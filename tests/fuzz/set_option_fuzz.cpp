#include "tests/fuzz/fuzz.h"
#include "trainer/config/config_yaml.h"

namespace vmla {

// Each line is one --set.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> overrides(1);
  for (const char c : fuzz::as_text(data, size)) {
    if (c == '\n') {
      overrides.emplace_back();
    } else {
      overrides.back() += c;
    }
  }
  fuzz::accepts([&] { trainer::read_config("", overrides); });
  return 0;
}

}  // namespace vmla
