#include "data/store/latent_index.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

namespace vmla {

// A dataset file of anybody, as a run opens it: HDF5 reads it in a process of its own, which may
// die of it, and what that process answers is checked here.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  const auto path = folder.write("clips.h5", fuzz::as_text(data, size));
  try {
    const data::LatentIndex index = data::read_latent_index(data::RegularFile(path), false);
    fuzz::expect(index.places.text_rows.size() == index.clips.size() + 1, "rows for every clip");
    fuzz::expect(index.clips.size() <= size, "no more clips than bytes");
  } catch (const UserError& error) {  // RunError would be the machine's fault, or the reader's
    fuzz::expect_one_line(error.what());
  }
  return 0;
}

}  // namespace vmla
