#include "model/io/safetensors_index.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::map<std::string, std::string> files;
  if (!fuzz::accepts([&] { files = io::parse_safetensors_index(fuzz::as_text(data, size), "f"); }))
    return 0;
  for (const auto& [tensor, file] : files) {
    fuzz::expect(file.find('/') == std::string::npos && file != "..", "a file of the folder");
  }
  return 0;
}

}  // namespace vmla
