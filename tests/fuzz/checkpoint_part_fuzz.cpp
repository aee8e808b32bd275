#include "model/io/checkpoint_manifest.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  io::CheckpointPart part;
  if (!fuzz::accepts([&] { part = io::parse_part(fuzz::as_text(data, size), "f"); })) return 0;
  io::CheckpointManifest manifest;
  fuzz::accepts([&] { io::merge_part(manifest, part); });
  return 0;
}

}  // namespace vmla
