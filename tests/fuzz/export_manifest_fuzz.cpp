#include "model/formats/export_origin.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  model::ExportOrigin origin;
  if (!fuzz::accepts(
          [&] { origin = model::parse_export_manifest(fuzz::as_text(data, size), "f"); }))
    return 0;
  fuzz::expect(origin.torch_file.find('/') == std::string::npos, "a file of the folder");
  if (origin.sampling) {
    // What is written is what is read.
    const std::string text = model::sampling_json(*origin.sampling);
    const auto again = model::parse_sampling_json(text, "f");
    fuzz::expect(model::sampling_json(again) == text, "the same facts");
  }
  return 0;
}

}  // namespace vmla
