#include "data/video/decoder/frame_source.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  const auto file = folder.write("video.y4m", fuzz::as_text(data, size));
  fuzz::accepts([&] {
    const auto source = data::open_y4m_source(file.string());
    data::SourceFrame frame;
    uint64_t sum = 0;
    for (int frames = 0; frames < 1000 && source->next(frame); ++frames) {
      // Read the corners, so that a frame that is smaller than it says is found.
      sum += frame.pixels[0] +
             frame.pixels[(frame.height - 1) * frame.row_bytes + 3 * frame.width - 1];
    }
    if (const std::string damage = source->damage(); !damage.empty()) fuzz::expect_one_line(damage);
    fuzz::expect(sum < (1u << 20), "bytes are at most 255");
  });
  return 0;
}

}  // namespace vmla
