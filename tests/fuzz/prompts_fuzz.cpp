#include "data/encode/prompt_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  const auto file = folder.write("prompts.txt", fuzz::as_text(data, size));
  fuzz::accepts([&] {
    for (const std::string& prompt : data::read_prompt_file(file)) {
      fuzz::expect(prompt.find('\n') == std::string::npos, "a prompt is one line");
    }
  });
  return 0;
}

}  // namespace vmla
