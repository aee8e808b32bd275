#include "model/io/zip_file.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file = fuzz::as_text(data, size);
  std::vector<io::ZipEntry> entries;
  if (!fuzz::accepts([&] { entries = io::parse_zip(file, "f"); })) return 0;
  uint64_t end = 0;
  for (const io::ZipEntry& entry : entries) {
    fuzz::expect(end <= entry.begin && entry.begin <= entry.end && entry.end <= size,
                 "the entries lie in the file, one behind the other");
    fuzz::expect(entry.name.front() != '/' && entry.name.find("../") == std::string_view::npos,
                 "names stay inside");
    end = entry.end;
  }
  return 0;
}

}  // namespace vmla
