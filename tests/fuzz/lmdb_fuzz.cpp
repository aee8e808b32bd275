#include "data/import/lmdb_rows.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const fuzz::FuzzFolder folder;
  const auto file = folder.write("data.mdb", fuzz::as_text(data, size));
  fuzz::accepts([&] {
    const data::LmdbRows source(file);
    // Every byte of what the rows point to must lie in the file.
    unsigned sum = 0;
    for (const data::LmdbRow& row : source.rows())
      for (const char c : row.latents) sum += static_cast<unsigned char>(c);
    [[maybe_unused]] static volatile unsigned kept;
    kept = sum;
  });
  return 0;
}

}  // namespace vmla
