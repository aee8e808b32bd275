#include "model/io/torch_archive.h"
#include "tests/fuzz/fuzz.h"

namespace vmla {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  io::TorchArchive archive;
  if (!fuzz::accepts([&] { archive = io::parse_torch_archive(fuzz::as_text(data, size), "f"); }))
    return 0;
  for (const io::TorchTensor& tensor : archive.tensors) {
    uint64_t last = 0;
    bool empty = false;
    for (size_t i = 0; i < tensor.shape.size(); ++i) {
      empty = empty || tensor.shape[i] == 0;
      if (!empty) last += static_cast<uint64_t>((tensor.shape[i] - 1) * tensor.stride[i]);
    }
    const uint64_t bytes = empty ? 0 : (last + 1) * tensor.type.bytes;
    fuzz::expect(tensor.begin + bytes <= size, "the tensors lie in the file");
  }
  return 0;
}

}  // namespace vmla
