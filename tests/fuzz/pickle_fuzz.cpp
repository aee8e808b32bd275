#include "model/io/pickle.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  io::Pickle pickle;
  if (!fuzz::accepts([&] { pickle = io::parse_pickle(fuzz::as_text(data, size), "f"); })) return 0;
  fuzz::expect(pickle.root < pickle.values.size(), "there is a root");
  for (const io::PickleValue& value : pickle.values) {
    if (value.kind == io::PickleKind::tensor) pickle.tensor(value);
    if (value.kind != io::PickleKind::list && value.kind != io::PickleKind::dict) continue;
    for (const io::PickleId id : value.items())
      fuzz::expect(id < pickle.values.size(), "items exist");
  }
  return 0;
}

}  // namespace vmla
